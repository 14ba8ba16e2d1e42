// Convolution of pictures that are enlarged by repetition, without enlarging them.
#pragma once

#include <vector>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// x [N, H, W, C], to be doubled in height and width so many times by repeating its pixels.
struct Repeated {
  Tensor x;
  int doublings = 0;
};

/// conv2d of the concatenation of the enlarged inputs, with a stride of 1 and zeros around that keep the
/// size: weight [out, k, k, C] with an odd k and all channels, bias [out]. Products are taken where the
/// pixels are, for all taps, and added up where the outputs are (Vasudevan et al., ASAP 2017, "kn2row"): for
/// a pixel that stands for sixteen that is a sixteenth of them. It pays where outputs are few, on the CPU;
/// devices enlarge. Never coarser than `Precision::fp32`. Inputs that are moved in die one by one. Throws
/// Error where shapes do not fit together.
Tensor conv2d_repeated(std::vector<Repeated> inputs, const Tensor& weight, const Tensor& bias);

/// products [N, H, W, out·k·k] of pixels with the taps of k x k kernels -> their sums [N, 2ᵈ·H, 2ᵈ·W, out]
/// over the picture doubled d times: y[n, p, q, o] = sum over i, j of products[n, (p + i - k / 2) / 2ᵈ, (q +
/// j - k / 2) / 2ᵈ, (o·k + i)·k + j], as far as they are inside. Throws Error for an even k, more than 16
/// doublings, and channels that are no multiple of k·k.
Tensor sum_taps(const Tensor& products, int64_t kernel_size, int doublings = 0);

}  // namespace lux
