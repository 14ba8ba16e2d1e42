// Two-dimensional convolution (cross-correlation, as every network here means it) over channels-last
// pictures.
#pragma once

#include "luxgrad/kernels/epilogue.h"
#include "luxgrad/kernels/padding.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

struct Conv2dOptions {
  int64_t stride = 1;
  Padding padding = {};  ///< zeros around the picture
  int64_t groups = 1;    ///< channels are split into groups that do not see each other
  Activation activation = Activation::none;
  double negative_slope = 0.01;  ///< of leaky_relu, at least 0
  bool fine = false;             ///< never coarser than Precision::fp32
};

/// y[n, p, q, k] = activation(bias[k] + sum over i, j, c of x[n, p·stride + i - top, q·stride + j - left, c]
/// · weight[k, i, j, c]). The inputs [N, H, W, C_i], at most eight, are read as one concatenation along the
/// channels, which is never made; weight is [out, kH, kW, C/groups], bias [out] or undefined; all of one
/// floating dtype. Returns [N, P, Q, out] with P = (H + top + bottom - kH) / stride + 1. `skip`, of the shape
/// of the result, is added to it where it is defined, to the bits of an addition behind; then there is no
/// activation. Throws Error when shapes, dtypes or options do not fit together, and when the kernel is larger
/// than the padded picture.
Tensor conv2d(const Tensors& inputs, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {}, const Tensor& skip = {});
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {}, const Tensor& skip = {});

}  // namespace lux
