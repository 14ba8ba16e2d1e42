// The end of a residual block in one pass over memory.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// leaky_relu(x + bias) + skip: x and skip [N, H, W, C], bias [N, 1, 1, C]. Throws Error for other shapes,
/// dtypes that differ, and where the factor of negative sums is below 0.
Tensor residual(const Tensor& x, const Tensor& bias, double negative_slope, const Tensor& skip);

}  // namespace lux
