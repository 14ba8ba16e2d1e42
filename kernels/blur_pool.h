// Shrinking without aliasing.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Every second pixel of x, smoothed with [1 2 1] ⊗ [1 2 1] / 16 beyond a mirrored edge (Zhang, ICML 2019):
/// [N, H, W, C] -> [N, ⌈H/2⌉, ⌈W/2⌉, C]. Throws Error for an empty picture.
Tensor blur_pool(const Tensor& x);

}  // namespace lux
