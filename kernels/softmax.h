// Softmax along one dimension.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// e^x / Σ e^x along dimension `dim` (negative counts from the end), after the largest value was taken off.
/// Throws Error for a dimension that is not there or has no elements.
Tensor softmax(const Tensor& x, int dim);

}  // namespace lux
