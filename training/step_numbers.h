// The few numbers of a step on a device: gathered there, so that the host reads them once, and looked at
// there, so that an update waits for nobody.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// The values of tensors with one element each, of floating dtypes and on one device, as [n] in f64 there.
/// Throws Error for a tensor with more elements.
Tensor gathered(const Tensors& scalars);

/// Sets element `at` of `numbers` (f64) to 1 where an element of `tensors` is not finite, else leaves it.
/// Needs no memory, so that it cannot fail once weights are written.
void mark_not_finite_(const Tensor& numbers, int64_t at, const Tensors& tensors);

/// `factors` [k] of f32 or f64, the last of them 0 where one of the first `count` of `numbers` (f64) is not
/// finite.
Tensor unless_not_finite(const Tensor& factors, const Tensor& numbers, int64_t count);

}  // namespace lux
