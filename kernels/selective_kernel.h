// The two passes over the pictures of selective-kernel fusion (Li et al., CVPR 2019; SKFF of MIRNet, Zamir et
// al., ECCV 2020, Sec. 3.2): pool the sum of several streams, and add the streams up with weights. What lies
// between works on one number per channel and is written with ordinary layers.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// The mean over all pixels of the sum of up to 4 streams [N, H, W, C]: [N, 1, 1, C]. The sum is not made.
/// Throws Error for streams of different shapes or dtypes, or without pixels.
Tensor pooled_sum(const Tensors& streams);

/// Σ weights[s] · streams[s]: up to 4 streams [N, H, W, C], as many weights [N, 1, 1, C]. Throws Error for
/// other shapes or dtypes that differ.
Tensor weighted_sum(const Tensors& streams, const Tensors& weights);

}  // namespace lux
