// What the published program for video does to a frame, artefacts included, for comparison with it.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

/// picture [1, H, W, 3] in [0, 1] -> the same shape: 8 bits, shrunk or stretched to 256x256, red and blue
/// swapped, through the network, truncated to 8 bits instead of rounded, and back to the size it had.
Tensor published_video_frame(const Model& model, const Tensor& picture, double strength);

}  // namespace lux
