// The fully connected layer.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x · weightᵀ + bias: x [N, in], weight [out, in], bias [out] or undefined -> [N, out]. Throws Error for
/// other shapes.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace lux
