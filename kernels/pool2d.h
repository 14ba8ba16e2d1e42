// Average and maximum pooling.
#pragma once

#include "luxgrad/kernels/padding.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

struct Pool2dOptions {
  int64_t kernel_size = 2;
  int64_t stride = 0;    ///< 0: kernel_size
  Padding padding = {};  ///< zeros around the picture, each side less than the kernel
  /// Also windows that reach beyond the padded picture, if they start in the picture.
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< divide by all of the window inside the padding, or by its pixels only
};

/// Means over kernel_size x kernel_size windows, as PyTorch's avg_pool2d: [N, H, W, C] -> [N, P, Q, C] with
/// P = (H + top + bottom - kernel_size) / stride + 1, rounded down, or up in ceil_mode. Throws Error when no
/// window fits.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options);

/// The largest pixel of each window, of those inside the picture; the gradient goes to the first of several
/// equal ones, as in PyTorch. With ceil_mode and no padding it is the `same` pooling of TensorFlow. A NaN
/// wins. Throws Error when no window fits, or a window would see padding only.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options);

}  // namespace lux
