// From a picture to its enhancement, whatever its size: Tensor in, Tensor out.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

struct EnhanceOptions {
  double strength = 1;  ///< how much of the enhancement, 0 to 1
};

/// picture [N, H, W, 3] in [0, 1] -> the same shape. Pads to the network's multiple, runs it without
/// recording a graph, crops. Throws Error for another shape, an empty picture, or a strength outside [0, 1].
Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options = {});

/// x [N, H, W, C] continued or cut at the bottom and right to height x width, outside any graph. It continues
/// mirrored without repeating the edge, again and again where needed; a side of length 1 repeats its pixel.
Tensor mirror_to(const Tensor& x, int64_t height, int64_t width);

}  // namespace lux
