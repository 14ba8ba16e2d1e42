// A picture continued by its mirror image, so that a network finds the size it needs.
#pragma once

#include "luxgrad/kernels/padding.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x [N, H, W, C] with more rows and columns on each side, mirrored without repeating the edge, again and
/// again where needed; a side of length 1 repeats its pixel. Negative padding cuts. Throws Error for an empty
/// picture or result.
Tensor reflect_pad(const Tensor& x, const Padding& padding);

}  // namespace lux
