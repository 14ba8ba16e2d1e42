// The backward pass.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Adds d loss / d leaf to the gradient of every leaf below `loss`, a tensor with one element, and consumes
/// the graph. Throws Error when the graph was consumed before, when a captured tensor was changed since, or
/// when nothing below asks for gradients.
void backward(const Tensor& loss);

/// The same for any shape, starting from the gradient `gy` of that shape.
void backward(const Tensor& y, const Tensor& gy);

}  // namespace lux
