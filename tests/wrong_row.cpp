// A row that is wrong on purpose, linked into a second copy of the tool: `luxgrad gradcheck` must catch it.
#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/arithmetic.h"

namespace lux {
namespace {

OP_CASE("wrong on purpose", {{3, 4}}, [](const Tensors& x) {
  return differentiable("wrong", x[0].clone(), x, [](const Tensor& gy) { return Grads{gy * 1.01}; });
});

}  // namespace
}  // namespace lux
