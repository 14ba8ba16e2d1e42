// Structural similarity as a loss: differentiable, made of convolutions.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Mean structural similarity of two pictures [N, H, W, C] with values in [0, 1] and sides of at least 11, in
/// [−1, 1]; 1 means equal. Every channel by itself, Gaussian window 11x11 with σ 1.5, only where the window
/// fits (Wang et al., TIP 2004, Eq. (13) with C1 = 0.01², C2 = 0.03²). The loss to minimise is 1 − ssim.
Tensor ssim(const Tensor& x, const Tensor& y);

}  // namespace lux
