// The activation with a slope that is trained.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x where positive, weight·x elsewhere (He et al., ICCV 2015, Eq. (1)). weight [1]: one slope for all;
/// layers may share it. Throws Error for another shape or dtype of the weight.
Tensor prelu(const Tensor& x, const Tensor& weight);

}  // namespace lux
