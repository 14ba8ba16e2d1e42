#include "luxgrad/losses/ssim.h"

#include <cmath>

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/reductions.h"

namespace lux {
namespace {

constexpr int64_t kWindow = 11;
constexpr double kSigma = 1.5;
constexpr double kC1 = 0.01 * 0.01, kC2 = 0.03 * 0.03;  // (K1·L)², (K2·L)² with the value range L = 1

// One side of the window for every channel: a column [C, 11, 1, 1]; the same bytes serve as the row [C, 1,
// 11, 1].
Tensor gaussian_column(int64_t channels, TensorOptions options) {
  std::vector<double> side(kWindow);
  double sum = 0;
  for (int64_t i = 0; i < kWindow; ++i) {
    const int64_t offset = i - kWindow / 2;
    const double t = static_cast<double>(offset) / kSigma;
    sum += side[static_cast<size_t>(i)] = std::exp(-t * t / 2);
  }
  std::vector<double> values;
  for (int64_t c = 0; c < channels; ++c) {
    for (const double value : side) values.push_back(value / sum);
  }
  return from_vector(values, {channels, kWindow, 1, 1}, options);
}

}  // namespace

Tensor ssim(const Tensor& x, const Tensor& y) {
  const Shape s = x.shape();
  check(s == y.shape() && s.rank() == 4 && s[1] >= kWindow && s[2] >= kWindow,
        "ssim: expected two pictures of one shape with sides of at least ", kWindow, ", got ", s, " and ",
        y.shape());
  const int64_t channels = s[3];
  const Tensor column = gaussian_column(channels, x.options());
  const Tensor row = column.with_shape({channels, 1, kWindow, 1});
  const auto blurred = [&](const Tensor& map) {  // [N, H, W, C] -> [N, H − 10, W − 10, C]
    return conv2d(conv2d(map, column, {}, {.groups = channels}), row, {}, {.groups = channels});
  };
  const Tensor mean_x = blurred(x), mean_y = blurred(y);
  const Tensor square_x = square(mean_x), square_y = square(mean_y), product = mean_x * mean_y;
  const Tensor variance_x = blurred(square(x)) - square_x, variance_y = blurred(square(y)) - square_y;
  const Tensor covariance = blurred(x * y) - product;
  return mean((2 * product + kC1) * (2 * covariance + kC2) /
              ((square_x + square_y + kC1) * (variance_x + variance_y + kC2)));
}

}  // namespace lux
