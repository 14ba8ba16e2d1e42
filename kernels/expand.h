// Tensors brought to the height and width of another picture.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x [N, 1, 1, C] -> [N, H, W, C], where `like` is [N, H, W, …]: PyTorch's expand, copied. No gradient flows
/// to `like`. Throws Error for other shapes.
Tensor expand_as(const Tensor& x, const Tensor& like);

/// The first rows and columns of x [N, H', W', C], as many as `like` [N, H, W, …] has; x itself where it has
/// no more. No gradient flows to `like`. Throws Error where x has fewer.
Tensor crop_as(const Tensor& x, const Tensor& like);

}  // namespace lux
