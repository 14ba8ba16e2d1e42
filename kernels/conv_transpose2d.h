// Transposed convolution: the adjoint of conv2d, by the same kernels.
#pragma once

#include "luxgrad/kernels/epilogue.h"
#include "luxgrad/kernels/padding.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

struct ConvTranspose2dOptions {
  int64_t stride = 2;
  /// Rows and columns cut from the full result. With a kernel of 3 and a stride of 2, {0, 1, 0, 1} is the
  /// `same` of TensorFlow, {1, 0, 1, 0} PyTorch's padding=1, output_padding=1.
  Padding padding = {};
  Activation activation = Activation::none;
  double negative_slope = 0.01;  ///< of leaky_relu, at least 0
};

/// y[o] = activation(bias + sum over i, k with i·stride + k - before = o of x[i] · weight[k]), for rows and
/// columns: [N, H, W, in] -> [N, (H - 1)·stride + kH - top - bottom, …, out]. weight [out, kH, kW, in], bias
/// [out] or undefined. Throws Error for other shapes, dtypes that differ, a negative_slope below 0, or a
/// result without pixels.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose2dOptions& options = {});

}  // namespace lux
