#include "luxgrad/training/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "luxgrad/tensor/parallel.h"

namespace lux::metrics {
namespace {

void check_same(const char* name, const Tensor& result, const Tensor& reference) {
  check(result.shape() == reference.shape(), name, ": expected two pictures of one shape, got ",
        result.shape(), " and ", reference.shape());
  check(result.numel() > 0, name, ": expected a picture, got shape ", result.shape());
}

struct SquaredDifference {
  const double* a;
  const double* b;
  double* sum;
  double term(int64_t, int64_t i) const { return (a[i] - b[i]) * (a[i] - b[i]); }
  void finish(int64_t, double total) const { *sum = total; }
};

struct AbsoluteDifference {
  const double* a;
  const double* b;
  double* sum;
  double term(int64_t, int64_t i) const { return std::abs(a[i] - b[i]); }
  void finish(int64_t, double total) const { *sum = total; }
};

struct Total {
  const double* values;
  double* sum;
  double term(int64_t, int64_t i) const { return values[i]; }
  void finish(int64_t, double total) const { *sum = total; }
};

// Mean over all elements of what Sum adds up.
template <class Sum>
double mean_difference(const char* name, const Tensor& result, const Tensor& reference) {
  check_same(name, result, reference);
  const Tensor a = result.to(DType::f64), b = reference.to(DType::f64);
  double sum = 0;
  parallel_reduce(kCpu, 1, a.numel(), Sum{a.data<double>(), b.data<double>(), &sum});
  return sum / static_cast<double>(a.numel());
}

double mean_of(const Tensor& wide) {
  double sum = 0;
  parallel_reduce(kCpu, 1, wide.numel(), Total{wide.data<double>(), &sum});
  return sum / static_cast<double>(wide.numel());
}

// One side of the separable window; sums to 1.
std::vector<double> window_weights(const SsimProtocol& protocol) {
  std::vector<double> weights(static_cast<size_t>(protocol.window), 1.0);
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
constexpr size_t kMoments = 5;
using Moments = std::array<double, kMoments>;

// The SSIM map, one output row at a time: the window down the columns, then along the row, then over the
// channels.
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
        volume_(protocol.volume),
        weights_(window_weights(protocol)) {
    const double n = static_cast<double>(protocol.window * protocol.window * (volume_ ? protocol.window : 1));
    unbias_ = protocol.sample_covariance ? n / (n - 1) : 1;
  }

  int64_t rows() const { return H_ - margin_; }
  int64_t columns() const { return W_ - margin_; }

  /// Sum of the map over output row y.
  double sum(int64_t y) const {
    const std::vector<double> down = filter_down(y);
    std::vector<Moments> at(static_cast<size_t>(C_));
    double total = 0;
    for (int64_t x = 0; x < columns(); ++x) {
      for (int64_t c = 0; c < C_; ++c) at[static_cast<size_t>(c)] = filter_along(down, x, c);
      if (volume_) at = filter_channels(at);
      for (const Moments& moments : at) total += similarity(moments);
    }
    return total;
  }

 private:
  int64_t tap(int64_t at, int64_t size, size_t k) const {
    return std::clamp<int64_t>(at + static_cast<int64_t>(k) - reach_, 0, size - 1);
  }

  std::vector<double> filter_down(int64_t y) const {
    const int64_t n = W_ * C_;
    std::vector<double> down(kMoments * static_cast<size_t>(n));
    double* const moment = down.data();
    for (size_t k = 0; k < weights_.size(); ++k) {
      const double w = weights_[k];
      const double* const a = a_ + tap(y, H_, k) * n;
      const double* const b = b_ + tap(y, H_, k) * n;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        moment[i] += w * a[i];
        moment[n + i] += w * b[i];
        moment[2 * n + i] += w * a[i] * a[i];
        moment[3 * n + i] += w * b[i] * b[i];
        moment[4 * n + i] += w * a[i] * b[i];
      }
    }
    return down;
  }

  Moments filter_along(const std::vector<double>& down, int64_t x, int64_t c) const {
    Moments moments{};
    for (size_t k = 0; k < weights_.size(); ++k) {
      const double* const at = down.data() + tap(x, W_, k) * C_ + c;
      for (size_t m = 0; m < kMoments; ++m) moments[m] += weights_[k] * at[static_cast<int64_t>(m) * W_ * C_];
    }
    return moments;
  }

  std::vector<Moments> filter_channels(const std::vector<Moments>& at) const {
    std::vector<Moments> mixed(at.size());
    for (int64_t c = 0; c < C_; ++c) {
      for (size_t k = 0; k < weights_.size(); ++k) {
        const Moments& from = at[static_cast<size_t>(tap(c, C_, k))];
        for (size_t m = 0; m < kMoments; ++m) mixed[static_cast<size_t>(c)][m] += weights_[k] * from[m];
      }
    }
    return mixed;
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
  bool volume_;
  std::vector<double> weights_;
  double unbias_ = 1;
};

struct Quantize {
  double* values;
  void operator()(int64_t i) const {
    values[i] = std::floor(std::clamp(values[i], 0.0, 1.0) * 255 + 0.5) / 255;
  }
};

struct Luma {
  const double* rgb;
  double* y;
  void operator()(int64_t i) const {
    y[i] = 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2];
  }
};

struct ScaleClamped {
  double* values;
  double factor;
  void operator()(int64_t i) const { values[i] = std::clamp(values[i] * factor, 0.0, 1.0); }
};

// A float64 copy that may be written to.
Tensor wide_copy(const Tensor& picture) {
  return picture.dtype() == DType::f64 ? picture.clone() : picture.to(DType::f64);
}

}  // namespace

double psnr(const Tensor& result, const Tensor& reference) {
  return -10 * std::log10(mean_difference<SquaredDifference>("psnr", result, reference));
}

double mae(const Tensor& result, const Tensor& reference) {
  return 255 * mean_difference<AbsoluteDifference>("mae", result, reference);
}

double ssim(const Tensor& result, const Tensor& reference, const SsimProtocol& protocol) {
  check_same("ssim", result, reference);
  const Shape& shape = result.shape();
  check(shape.rank() == 3 || (shape.rank() == 4 && shape[0] == 1),
        "ssim: expected one picture [H, W, C] or [1, H, W, C], got ", shape);
  check(protocol.volume || std::min(shape[-3], shape[-2]) >= protocol.window,
        "ssim: expected a picture of at least ", protocol.window, " pixels on each side, got ", shape);
  const Tensor a = result.to(DType::f64), b = reference.to(DType::f64);
  const SsimRows map(a, b, protocol);
  std::vector<double> sums(static_cast<size_t>(map.rows()));
  run_chunks(map.rows(), [&](int64_t y) { sums[static_cast<size_t>(y)] = map.sum(y); });
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  return total / static_cast<double>(map.rows() * map.columns() * shape[-1]);
}

Tensor quantize_8bit(const Tensor& picture) {
  Tensor wide = wide_copy(picture);
  parallel_for(kCpu, wide.numel(), Quantize{wide.data<double>()});
  return wide;
}

Tensor gray(const Tensor& picture) {
  check(picture.shape().rank() > 0 && picture.size(-1) == 3, "gray: expected [..., 3], got ",
        picture.shape());
  const Tensor wide = picture.to(DType::f64);
  Tensor y = empty(picture.shape().with(-1, 1), {DType::f64, kCpu});
  parallel_for(kCpu, y.numel(), Luma{wide.data<double>(), y.data<double>()});
  return y;
}

Tensor match_mean(const Tensor& result, const Tensor& reference) {
  check_same("match_mean", result, reference);
  const double mean = mean_of(gray(result));
  Tensor scaled = wide_copy(result);
  if (mean > 0) {  // a black result stays black
    parallel_for(kCpu, scaled.numel(), ScaleClamped{scaled.data<double>(), mean_of(gray(reference)) / mean});
  }
  return scaled;
}

}  // namespace lux::metrics
