// The exposure-control loss of Zero-DCE: patches are neither too dark nor too bright.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Mean over patches of (Q - target)², or of |Q - target| if `absolute` (arXiv:2001.06826, Eq. 5), where Q is
/// the mean of a patch x patch square over all channels of [N, H, W, C]; rows and columns beyond a multiple
/// of `patch` are not read. Shape []. The slope of |0| is 0. Throws Error when no patch fits.
Tensor exposure(const Tensor& enhanced, int64_t patch = 16, double target = 0.6, bool absolute = false);

}  // namespace lux
