// The color-constancy loss of Zero-DCE: the gray-world hypothesis.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// With R, G, B the channel means of one picture, and the differences R - G, R - B, G - B:
///   official  root of the sum of their fourth powers (Li-Chongyi/Zero-DCE)
///   paper     sum of their squares (arXiv:2001.06826, Eq. 6)
enum class ColorForm { official, paper };

/// The loss averaged over the pictures [N, H, W, 3], shape []. Where the root is 0 (a gray picture) the
/// gradient is defined as 0. Throws Error for other shapes.
Tensor color_constancy(const Tensor& enhanced, ColorForm form);

}  // namespace lux
