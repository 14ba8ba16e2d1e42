#include "luxgrad/kernels/cast.h"

#include "luxgrad/autograd/node.h"

namespace lux {

Tensor cast(const Tensor& x, DType dtype) {
  const OperatorScope scope("cast", x);
  for (const DType type : {x.dtype(), dtype})
    check(type != DType::u8 && type != DType::i64, "cast: expected floating dtypes, got ", type);
  if (x.dtype() == dtype) return x;
  return differentiable("cast", x.to(dtype), {x},
                        [from = x.dtype()](const Tensor& gy) { return Grads{gy.to(from)}; });
}

}  // namespace lux
