// A distance of what a fixed network sees in two pictures (Johnson et al., ECCV 2016, arXiv:1603.08155).
#pragma once

#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// mean (features(x) − features(y))² over all elements of the maps (Eq. (2)). The reference y, of the shape
/// of x, is a constant. What `features` is made of gets a gradient where it asks for one: freeze it. Throws
/// Error for pictures of different shapes.
Tensor perceptual_loss(const Tensor& x, const Tensor& y, FunctionRef<Tensor(const Tensor&)> features);

}  // namespace lux
