// What the players of a conditional adversarial network want (Goodfellow et al., NeurIPS 2014,
// arXiv:1406.2661, Eq. (1); Isola et al., CVPR 2017, arXiv:1611.07004, Eq. (1)).
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// −mean(ln σ(logits)) where the patches that a discriminator judges are `real`, else −mean(ln(1 −
/// σ(logits))). The generator wants its pictures taken for real ones, as Goodfellow et al. advise in Sec. 3.
/// From logits, as Keras does where a network ends in a sigmoid: a discriminator that is certain has p of
/// exactly 0 or 1.
Tensor adversarial_loss(const Tensor& logits, bool real);

}  // namespace lux
