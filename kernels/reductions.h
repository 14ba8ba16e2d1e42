// Sums and means. Every sum runs in float64 in a fixed order.
#pragma once

#include <initializer_list>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Over all elements: shape [].
Tensor sum(const Tensor& x);
/// Over all elements: shape []. Throws Error for a tensor without elements.
Tensor mean(const Tensor& x);
/// Over the listed dimensions (negative counts from the end), which disappear, or stay as 1 with `keepdim`.
/// Throws Error for a dimension that is not there or named twice.
Tensor sum(const Tensor& x, std::initializer_list<int> dims, bool keepdim = false);
Tensor mean(const Tensor& x, std::initializer_list<int> dims, bool keepdim = false);

/// The sum over everything that broadcasting `shape` to x repeats: the inverse of broadcasting, and its
/// gradient. x itself when it has that shape. Throws Error when `shape` does not broadcast to x.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace lux
