// The few routines that write into an existing tensor. They raise its version; operators never use them on
// graph tensors.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Every element becomes `value` (rounded to the dtype).
void fill_(const Tensor& target, double value);
/// Copies the elements of `source` (same numel; any dtype, converted by rounding to nearest). u8 and i64
/// saturate.
void copy_(const Tensor& target, const Tensor& source);
/// target += source; same shape and dtype.
void add_(const Tensor& target, const Tensor& source);
/// target *= factor.
void scale_(const Tensor& target, double factor);

/// First element that is NaN or infinite, or -1.
int64_t first_non_finite(const Tensor& tensor);
/// Whether there is none; of a tensor on the CPU.
bool all_finite(const Tensor& tensor);
/// sums[at] = the sum of squares, taken in float64 in a fixed order. `sums` is f64, on the tensor's device.
void square_sum_(const Tensor& sums, int64_t at, const Tensor& tensor);
/// Square root of the sum of squares.
double l2_norm(const Tensor& tensor);

}  // namespace lux
