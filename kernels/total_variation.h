// The illumination-smoothness loss of Zero-DCE: curve maps change slowly from pixel to pixel.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// With v and h the differences to the pixel below and to the right, summed over pictures, pixels and
/// channels:
///   official  2 · (sum v² / ((H - 1)·W) + sum h² / (H·(W - 1))) / N (Li-Chongyi/Zero-DCE)
///   keras     the same with the divisors (W - 1)·C and W·(C - 1), which are sizes of another layout
///   paper     sum (|v| + |h|)² / (N·H·W·C/3), across the border 0 (arXiv:2001.06826, Eq. 7)
/// Eq. 7 averages over the iterations, which have three channels each. A sum without differences (H or W of
/// 1) is 0.
enum class VariationForm { official, keras, paper };

/// The loss, shape [], of curve maps [N, H, W, C]. The slope of |0| is 0. Throws Error for another rank, for
/// an empty tensor, and for a divisor of 0 in the keras form.
Tensor total_variation(const Tensor& curves, VariationForm form);

}  // namespace lux
