#include "luxgrad/losses/pixel.h"

#include <cmath>

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/pixel_loss.h"
#include "luxgrad/kernels/reductions.h"

namespace lux {
namespace {

// Losses compare equals: broadcasting would hide a mistake.
void check_equal(const char* loss, const Tensor& x, const Tensor& y) {
  check(x.shape() == y.shape(), loss, ": expected two equal shapes, got ", x.shape(), " and ", y.shape());
}

}  // namespace

Tensor l1_loss(const Tensor& x, const Tensor& y) {
  check_equal("l1_loss", x, y);
  const Tensor fused = fused_pixel_loss(PixelLoss::l1, x, y);
  return fused.defined() ? fused : mean(abs(x - y));
}

Tensor huber_loss(const Tensor& x, const Tensor& y, double delta) {
  check_equal("huber_loss", x, y);
  return mean(huber(x - y, delta));
}

Tensor binary_cross_entropy(const Tensor& p, const Tensor& y) {
  check_equal("binary_cross_entropy", p, y);
  // Above it is the logarithm that is bounded: 1 - 10⁻⁷ is not a float.
  const auto bounded_log = [](const Tensor& x) {
    return clamp(log(clamp(x, 1e-7, 1)), std::log(1e-7), std::log1p(-1e-7));
  };
  return -mean(y * bounded_log(p) + (1.0 - y) * bounded_log(1.0 - p));
}

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& y) {
  check_equal("binary_cross_entropy_with_logits", x, y);
  return mean(softplus(x) - x * y);
}

Tensor mse_loss(const Tensor& x, const Tensor& y) {
  check_equal("mse_loss", x, y);
  const Tensor fused = fused_pixel_loss(PixelLoss::mse, x, y);
  return fused.defined() ? fused : mean(square(x - y));
}

Tensor charbonnier(const Tensor& x, const Tensor& y, double epsilon) {
  check_equal("charbonnier", x, y);
  const Tensor fused = fused_pixel_loss(PixelLoss::charbonnier, x, y, epsilon);
  return fused.defined() ? fused : mean(sqrt(square(x - y) + epsilon * epsilon));
}

}  // namespace lux
