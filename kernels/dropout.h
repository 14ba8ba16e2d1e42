// Dropout (Srivastava et al., JMLR 2014).
#pragma once

#include <cstdint>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Each element is 0 with probability p, else x / (1 - p). Which ones, the key alone says, so that a step can
/// be repeated, recomputed or resumed: element i depends on key and i only. Throws Error unless 0 <= p < 1.
Tensor dropout(const Tensor& x, double p, uint64_t key);

}  // namespace lux
