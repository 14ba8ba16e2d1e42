// How MIRNet's networks weigh several streams before they add them up (SKFF, Zamir et al., ECCV 2020,
// Sec. 3.2): each stream has a logit per channel, and a softmax makes weights of them.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Streams [N, H, W, C], logits [N, 1, 1, C] each. The softmax runs across the streams, as in the paper.
Tensor fuse_across_streams(const Tensors& streams, const Tensors& logits);

/// The softmax runs across the channels of each stream, as in the Keras example.
Tensor fuse_across_channels(const Tensors& streams, const Tensors& logits);

}  // namespace lux
