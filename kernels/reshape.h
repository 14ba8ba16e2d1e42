// Reshape: the same bytes under another shape.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x as `shape`, in row-major order; shares its bytes. Throws Error when the numbers of elements differ.
Tensor reshape(const Tensor& x, const Shape& shape);

}  // namespace lux
