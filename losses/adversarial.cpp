#include "luxgrad/losses/adversarial.h"

#include "luxgrad/losses/pixel.h"

namespace lux {

Tensor adversarial_loss(const Tensor& logits, bool real) {
  return binary_cross_entropy_with_logits(logits, full(logits.shape(), real ? 1 : 0, logits.options()));
}

}  // namespace lux
