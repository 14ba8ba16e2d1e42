// The exposure-control loss of Zero-DCE: patches are neither too dark nor too bright.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// With Q the means of patch x patch squares over all channels:
///   official  mean over the squares of (Q - target)² (Li-Chongyi/Zero-DCE)
///   paper     mean over the squares of |Q - target| (arXiv:2001.06826, Eq. 5)
enum class ExposureForm { official, paper };

/// The loss, shape [], of pictures [N, H, W, C]; rows and columns beyond a multiple of `patch` are not read.
/// The slope of |0| is 0. Throws Error when no patch fits.
Tensor exposure(const Tensor& enhanced, ExposureForm form, int64_t patch = 16, double target = 0.6);

}  // namespace lux
