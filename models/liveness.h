// How little memory a network can run in: the best peak that its layers allow.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

/// Bytes that one inference on a [1, height, width, 3] picture needs at its worst layer when every tensor is
/// freed after its last reader: the parameters, the picture, the layer's inputs and result, and what is read
/// later. Found by following the tensors of a run on a small picture; sizes are taken as proportional to the
/// area. Workspaces inside operators are not counted.
int64_t liveness_optimum(const Model& model, int64_t height, int64_t width);

}  // namespace lux
