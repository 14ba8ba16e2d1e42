// autograd/: recording, the backward engine, observers, and gradcheck itself.
#include <doctest/doctest.h>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/gradcheck.h"
#include "luxgrad/autograd/node.h"

using namespace lux;

namespace {
// y = factor·x, with a gradient that is off by `error`: the smallest operator there is.
Tensor scaled(const Tensor& x, double factor, double error = 0) {
  Tensor y = empty(x.shape(), x.options());
  for (int64_t i = 0; i < x.numel(); ++i) y.data<double>()[i] = factor * x.data<double>()[i];
  return differentiable("scaled", y, {x},
                        [=](const Tensor& gy) { return Grads{scaled(gy, factor * (1 + error))}; });
}
}  // namespace

TEST_CASE("gradcheck passes a right gradient and fails one that is 1 % off") {
  Tensor x = from_vector({0.3, -1.2, 2.0}, {3}, {DType::f64, kCpu}).requires_grad_();
  CHECK(gradcheck("scaled", [](const Tensors& in) { return scaled(in[0], 3); }, {x}).passed);
  CHECK_FALSE(gradcheck("scaled", [](const Tensors& in) { return scaled(in[0], 3, 0.01); }, {x}).passed);
}
