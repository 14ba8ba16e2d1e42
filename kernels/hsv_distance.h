// How far colours of two pictures are apart as one operator, on devices that have a kernel for it.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// What the kernels of cosine_distance take a vector for at least: 10⁻⁶ long.
inline constexpr double kLeastSquares = 1e-12;

/// The cosine distances (losses/reference_guided.h) [2] of hue and of saturation of two pictures [N, H, W, 3]
/// of equal shape and dtype. Undefined where the device has no kernel for it: the loss is made of other
/// operators there.
Tensor fused_hsv_distance(const Tensor& x, const Tensor& y);

}  // namespace lux
