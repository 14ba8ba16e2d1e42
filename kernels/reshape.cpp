#include "luxgrad/kernels/reshape.h"

#include "luxgrad/autograd/node.h"

namespace lux {

Tensor reshape(const Tensor& x, const Shape& shape) {
  const OperatorScope scope("reshape", x);
  check(shape.numel() == x.numel(), "reshape: expected ", x.numel(), " elements as in ", x.shape(), ", got ",
        shape);
  return differentiable("reshape", x.with_shape(shape), {x},
                        [s = x.shape()](const Tensor& gy) { return Grads{gy.with_shape(s)}; });
}

}  // namespace lux
