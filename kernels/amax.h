// The largest element along dimensions.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// The largest element along the last dimension, which stays as 1: [..., C] -> [..., 1]. Equal ones share the
/// gradient, as in TensorFlow and PyTorch's amax. Throws Error where C is 0.
Tensor amax(const Tensor& x);

}  // namespace lux
