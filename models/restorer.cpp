#include "luxgrad/models/restorer.h"

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"

namespace lux {

Tensor Restorer::enhance(const Tensor& x, double strength) const {
  const Tensor y = clamp(forward(x), 0, 1);
  return strength == 1 ? y : x + strength * (y - x);
}

}  // namespace lux
