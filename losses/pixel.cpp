#include "luxgrad/losses/pixel.h"

#include <cmath>

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/reductions.h"

namespace lux {
namespace {

// Losses compare equals: broadcasting would hide a mistake.
Tensor difference(const char* loss, const Tensor& x, const Tensor& y) {
  check(x.shape() == y.shape(), loss, ": expected two equal shapes, got ", x.shape(), " and ", y.shape());
  return x - y;
}

}  // namespace

Tensor l1_loss(const Tensor& x, const Tensor& y) { return mean(abs(difference("l1_loss", x, y))); }

Tensor huber_loss(const Tensor& x, const Tensor& y, double delta) {
  return mean(huber(difference("huber_loss", x, y), delta));
}

Tensor binary_cross_entropy(const Tensor& p, const Tensor& y) {
  check(p.shape() == y.shape(), "binary_cross_entropy: expected two equal shapes, got ", p.shape(), " and ",
        y.shape());
  // The logarithms are bounded, not p: 1 - 10⁻⁷ is not a float.
  const auto bounded_log = [](const Tensor& x) { return clamp(log(x), std::log(1e-7), std::log1p(-1e-7)); };
  return -mean(y * bounded_log(p) + (1.0 - y) * bounded_log(1.0 - p));
}

Tensor mse_loss(const Tensor& x, const Tensor& y) { return mean(square(difference("mse_loss", x, y))); }

Tensor charbonnier(const Tensor& x, const Tensor& y, double epsilon) {
  return mean(sqrt(square(difference("charbonnier", x, y)) + epsilon * epsilon));
}

}  // namespace lux
