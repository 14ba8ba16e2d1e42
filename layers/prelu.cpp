#include "luxgrad/layers/prelu.h"

#include "luxgrad/autograd/node.h"

namespace lux {

std::optional<double> PRelu::as_leaky_relu(Tensors operands) const {
  operands.push_back(weight);
  if (weight.device() != kCpu || is_recorded(operands)) return std::nullopt;
  const double slope = weight.item();
  return slope >= 0 ? std::optional(slope) : std::nullopt;
}

}  // namespace lux
