// The passes over the maps of a dual attention unit (MIRNet, Zamir et al., ECCV 2020, Sec. 3.3): pool them
// for every pixel and for every channel, and weigh them by both attentions. What lies between works on one or
// two numbers per pixel or one per channel and is written with ordinary layers.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

struct AttentionPools {
  Tensor largest, average;  ///< over the channels of each pixel, [N, H, W, 1]
  Tensor mean;              ///< over the pixels of each channel, [N, 1, 1, C]
};

/// All three poolings of x [N, H, W, C] in one pass over it, forward and backward. Equal largest channels
/// share the gradient, as in `amax`. Throws Error for other shapes and for a picture without pixels.
AttentionPools attention_pool(const Tensor& x);

enum class AttentionOrder { pixels_first, channels_first };

/// [x · pixels | x · channels] along the channels, or the other way round, in one pass forward and one
/// backward: x [N, H, W, C], pixels [N, H, W, 1], channels [N, 1, 1, C] -> [N, H, W, 2C]. Throws Error for
/// other shapes or dtypes that differ.
Tensor attention_scale(const Tensor& x, const Tensor& pixels, const Tensor& channels, AttentionOrder order);

}  // namespace lux
