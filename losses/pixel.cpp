#include "luxgrad/losses/pixel.h"

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

Tensor mse_loss(const Tensor& x, const Tensor& y) { return mean(square(difference("mse_loss", x, y))); }

Tensor charbonnier(const Tensor& x, const Tensor& y, double epsilon) {
  return mean(sqrt(square(difference("charbonnier", x, y)) + epsilon * epsilon));
}

}  // namespace lux
