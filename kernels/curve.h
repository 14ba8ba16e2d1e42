// The light-enhancement curve of Zero-DCE.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Applies the curve x <- x + A_n · (x² - x) for n = 1 … iterations (Guo et al., arXiv:2001.06826, Eq. 3,
/// with the sign of the official code: A = -alpha). `x` is [N, H, W, 3] in [0, 1]; `curves` is [N, H, W,
/// 3·iterations] (channels 3(n - 1) … 3n - 1 are step n) or [N, H, W, 3], one map for all steps. Curves in
/// [-1, 1] keep the result in [0, 1]. Throws Error for other shapes, and for iterations outside 1 … 16.
Tensor curve_iterations(const Tensor& x, const Tensor& curves, int iterations = 8);

}  // namespace lux
