// Distances of two pictures as one operator, on devices that have a kernel for it.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

enum class PixelLoss : uint8_t { l1, mse, charbonnier };

/// mean |x - y|, mean (x - y)², or mean √((x - y)² + epsilon²), shape [], of two tensors of equal shape and
/// dtype. Undefined where the device has no kernel for it: the loss is made of other operators there
/// (losses/pixel.h).
Tensor fused_pixel_loss(PixelLoss loss, const Tensor& x, const Tensor& y, double epsilon = 0);

}  // namespace lux
