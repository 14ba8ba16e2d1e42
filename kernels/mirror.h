// A picture continued by its mirror image, so that a network finds the size it needs.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x [N, H, W, C] -> [N, height, width, C], continued or cut at the bottom and right. It continues mirrored
/// without repeating the edge, again and again where needed; a side of length 1 repeats its pixel. Throws
/// Error for an empty picture or a size below 1.
Tensor mirror_to(const Tensor& x, int64_t height, int64_t width);

}  // namespace lux
