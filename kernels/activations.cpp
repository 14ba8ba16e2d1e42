// Each line is one operator: the formulas stand in formulas.h, forward and backward in unary.h.
#include "luxgrad/kernels/activations.h"

#include "luxgrad/kernels/formulas.h"
#include "luxgrad/kernels/unary.h"

namespace lux {

Tensor relu(const Tensor& x) { return unary("relu", x, Relu{}); }
Tensor sigmoid(const Tensor& x) { return unary("sigmoid", x, Sigmoid{}); }
Tensor tanh(const Tensor& x) { return unary("tanh", x, Tanh{}); }
Tensor abs(const Tensor& x) { return unary("abs", x, Abs{}); }
Tensor square(const Tensor& x) { return unary("square", x, Square{}); }
Tensor sqrt(const Tensor& x) { return unary("sqrt", x, Sqrt{}); }
Tensor exp(const Tensor& x) { return unary("exp", x, Exp{}); }

Tensor leaky_relu(const Tensor& x, double negative_slope) {
  check(negative_slope >= 0, "leaky_relu: expected a negative_slope of at least 0, got ", negative_slope);
  return unary("leaky_relu", x, LeakyRelu{negative_slope});
}

Tensor elu(const Tensor& x) { return unary("elu", x, Elu{}); }
Tensor log(const Tensor& x) { return unary("log", x, Log{}); }
Tensor softplus(const Tensor& x) { return unary("softplus", x, Softplus{}); }

Tensor huber(const Tensor& x, double delta) {
  check(delta > 0, "huber: expected a positive delta, got ", delta);
  return unary("huber", x, Huber{delta});
}

Tensor clamp(const Tensor& x, double low, double high) {
  check(low <= high, "clamp: expected low <= high, got ", low, " and ", high);
  return unary("clamp", x, Clamp{low, high});
}

}  // namespace lux
