// SSIM: the windowed moments of two pictures, one output row at a time. The window is separable, so it goes
// down the columns, then along the row, then over the channels where those count as a third dimension.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/training/metrics.h"

namespace lux::metrics {
namespace {

using Row = std::vector<double>;

// One side of the window; sums to 1.
Row window_weights(const SsimProtocol& protocol) {
  Row weights(static_cast<size_t>(protocol.window), 1.0);
  const double middle = static_cast<double>(protocol.window - 1) / 2;
  for (size_t i = 0; i < weights.size() && protocol.sigma > 0; ++i) {
    const double distance = (static_cast<double>(i) - middle) / protocol.sigma;
    weights[i] = std::exp(-distance * distance / 2);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

// Windowed means of a, b, a², b², ab.
constexpr int64_t kMoments = 5;
using Moments = std::array<double, kMoments>;

class SsimRows {
 public:
  SsimRows(const Tensor& a, const Tensor& b, const SsimProtocol& protocol)
      : a_(a.data<double>()),
        b_(b.data<double>()),
        H_(a.size(-3)),
        W_(a.size(-2)),
        C_(a.size(-1)),
        margin_(protocol.volume ? 0 : protocol.window - 1),
        reach_(protocol.volume ? protocol.window / 2 : 0),
        weights_(window_weights(protocol)) {
    const double n =
        static_cast<double>(protocol.window * protocol.window * (protocol.volume ? protocol.window : 1));
    unbias_ = protocol.sample_covariance ? n / (n - 1) : 1;
    if (protocol.volume) mix_ = channel_weights();
  }

  int64_t rows() const { return H_ - margin_; }
  int64_t columns() const { return W_ - margin_; }

  /// Sum of the map over output row y.
  double sum(int64_t y) const {
    Row row = along(down(y));
    if (!mix_.empty()) row = across(row);
    const int64_t n = columns() * C_;
    double total = 0;
    for (int64_t i = 0; i < n; ++i) {
      Moments at;
      for (int64_t m = 0; m < kMoments; ++m) at[static_cast<size_t>(m)] = row[static_cast<size_t>(m * n + i)];
      total += similarity(at);
    }
    return total;
  }

 private:
  int64_t padded() const { return W_ + 2 * reach_; }

  // The moments of the window's columns at row y: [5, W + 2·reach, C], the outermost pixels repeated.
  Row down(int64_t y) const {
    const int64_t n = W_ * C_, stride = padded() * C_, edge = reach_ * C_;
    Row row(static_cast<size_t>(kMoments * stride));
    double* const moment = row.data() + edge;
    for (size_t k = 0; k < weights_.size(); ++k) {
      const double w = weights_[k];
      const int64_t from = std::clamp<int64_t>(y + static_cast<int64_t>(k) - reach_, 0, H_ - 1);
      const double* const a = a_ + from * n;
      const double* const b = b_ + from * n;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        moment[i] += w * a[i];
        moment[stride + i] += w * b[i];
        moment[2 * stride + i] += w * a[i] * a[i];
        moment[3 * stride + i] += w * b[i] * b[i];
        moment[4 * stride + i] += w * a[i] * b[i];
      }
    }
    for (int64_t m = 0; m < kMoments; ++m) {
      double* const first = moment + m * stride;
      for (int64_t i = 1; i <= edge; ++i) {
        first[-i] = first[-i + C_];
        first[n - 1 + i] = first[n - 1 + i - C_];
      }
    }
    return row;
  }

  // The window along the row: [5, columns, C].
  Row along(const Row& source) const {
    const int64_t n = columns() * C_;
    Row row(static_cast<size_t>(kMoments * n));
    for (int64_t m = 0; m < kMoments; ++m) {
      double* const to = row.data() + m * n;
      for (size_t k = 0; k < weights_.size(); ++k) {
        const double w = weights_[k];
        const double* const from = source.data() + m * padded() * C_ + static_cast<int64_t>(k) * C_;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) to[i] += w * from[i];
      }
    }
    return row;
  }

  // With so few channels nearly all of the window lies on repeated ones: [C, C] weights say it at once.
  Row channel_weights() const {
    Row mix(static_cast<size_t>(C_ * C_));
    for (int64_t c = 0; c < C_; ++c) {
      for (size_t k = 0; k < weights_.size(); ++k) {
        const int64_t from = std::clamp<int64_t>(c + static_cast<int64_t>(k) - reach_, 0, C_ - 1);
        mix[static_cast<size_t>(c * C_ + from)] += weights_[k];
      }
    }
    return mix;
  }

  Row across(const Row& source) const {
    Row row(source.size());
    for (size_t i = 0; i < source.size(); ++i) {
      const size_t channels = static_cast<size_t>(C_), c = i % channels, pixel = i - c;
      for (size_t from = 0; from < channels; ++from)
        row[i] += mix_[c * channels + from] * source[pixel + from];
    }
    return row;
  }

  double similarity(const Moments& moments) const {
    constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    const auto [a, b, aa, bb, ab] = moments;
    const double va = unbias_ * (aa - a * a), vb = unbias_ * (bb - b * b),
                 covariance = unbias_ * (ab - a * b);
    return (2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (va + vb + c2));
  }

  const double* a_;
  const double* b_;
  int64_t H_, W_, C_, margin_, reach_;
  Row weights_, mix_;
  double unbias_ = 1;
};

}  // namespace

double ssim(const Tensor& result, const Tensor& reference, const SsimProtocol& protocol) {
  const Shape& shape = result.shape();
  check(shape == reference.shape(), "ssim: expected two pictures of one shape, got ", shape, " and ",
        reference.shape());
  check(shape.numel() > 0, "ssim: expected a picture, got shape ", shape);
  check(shape.rank() == 3 || (shape.rank() == 4 && shape[0] == 1),
        "ssim: expected one picture [H, W, C] or [1, H, W, C], got ", shape);
  check(protocol.volume || std::min(shape[-3], shape[-2]) >= protocol.window,
        "ssim: expected a picture of at least ", protocol.window, " pixels on each side, got ", shape);
  const Tensor a = result.to(DType::f64), b = reference.to(DType::f64);
  const SsimRows map(a, b, protocol);
  Row sums(static_cast<size_t>(map.rows()));
  run_chunks(map.rows(), [&](int64_t y) { sums[static_cast<size_t>(y)] = map.sum(y); });
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  return total / static_cast<double>(map.rows() * map.columns() * shape[-1]);
}

}  // namespace lux::metrics
