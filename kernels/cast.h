// Another dtype: what stands between weights in f32 and a network that computes in bf16.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x, of any shape, in a floating dtype, rounded to nearest; x itself where it has that dtype. Its gradient
/// is that of the result, rounded to the dtype of x. Throws Error for other dtypes.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace lux
