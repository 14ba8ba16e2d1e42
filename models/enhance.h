// From a picture to its enhancement, whatever its size: Tensor in, Tensor out.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

struct EnhanceOptions {
  double strength = 1;  ///< how much of the enhancement, 0 to 1
};

/// picture [N, H, W, 3] in [0, 1] -> the same shape. Pads to the network's multiple by mirroring, runs it
/// without recording a graph, crops. Throws Error for another shape, an empty picture, or a strength outside
/// [0, 1].
Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options = {});

}  // namespace lux
