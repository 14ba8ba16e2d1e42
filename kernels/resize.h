// Resizing pictures inside networks. (Resizing of files, with more filters, is data/transforms.h.)
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

struct ResizeOptions {
  enum Mode {
    bilinear,       ///< the four neighbours, weighted; no smoothing when shrinking
    nearest,        ///< the pixel at floor(o · ratio)
    nearest_exact,  ///< the pixel at floor((o + ½) · ratio)
  };
  Mode mode = bilinear;
  /// Only for bilinear: the centres of the corner pixels stay in place; otherwise the outer edges do.
  bool align_corners = false;
  /// Input steps per output step where edges stay in place; 0 = from the sizes.
  double ratio_h = 0, ratio_w = 0;
};

/// [N, H, W, C] -> [N, height, width, C], as PyTorch's interpolate. Throws Error for an empty picture or a
/// size below 1.
Tensor resize(const Tensor& x, int64_t height, int64_t width, const ResizeOptions& options = {});

}  // namespace lux
