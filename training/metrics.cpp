#include "luxgrad/training/metrics.h"

#include <algorithm>
#include <cmath>

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

struct Quantize {
  double* values;
  void operator()(int64_t i) const {
    values[i] = std::floor(std::clamp(values[i], 0.0, 1.0) * 255 + 0.5) / 255;
  }
};

// offset + red·R + green·G + blue·B
struct Weighted {
  double red, green, blue, offset;
};
constexpr Weighted kGray{0.299, 0.587, 0.114, 0}, kSwappedGray{0.114, 0.587, 0.299, 0},
    kLuma{65.481 / 255, 128.553 / 255, 24.966 / 255, 16.0 / 255}, kMean{1.0 / 3, 1.0 / 3, 1.0 / 3, 0};

struct OneChannel {
  Weighted weights;
  const double* rgb;
  double* y;
  void operator()(int64_t i) const {
    y[i] = weights.offset + weights.red * rgb[3 * i] + weights.green * rgb[3 * i + 1] +
           weights.blue * rgb[3 * i + 2];
  }
};

struct ScaleClamped {
  double* values;
  double factor;
  void operator()(int64_t i) const { values[i] = std::clamp(values[i] * factor, 0.0, 1.0); }
};

Tensor one_channel(const char* name, const Tensor& picture, const Weighted& weights) {
  check(picture.shape().rank() > 0 && picture.size(-1) == 3, name, ": expected [..., 3], got ",
        picture.shape());
  const Tensor wide = picture.to(DType::f64);
  Tensor y = empty(picture.shape().with(-1, 1), {DType::f64, kCpu});
  parallel_for(kCpu, y.numel(), OneChannel{weights, wide.data<double>(), y.data<double>()});
  return y;
}

// The mean brightness of a result and of its reference, as each convention of GT mean takes them.
struct MeanPair {
  Weighted result, reference;
};
MeanPair means_of(GtMean form) {
  switch (form) {
    case GtMean::retinexformer:
      return {kSwappedGray, kSwappedGray};
    case GtMean::llflow:
      return {kMean, kGray};
    default:
      return {kGray, kGray};
  }
}

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

Tensor quantize_8bit(const Tensor& picture) {
  Tensor wide = wide_copy(picture);
  parallel_for(kCpu, wide.numel(), Quantize{wide.data<double>()});
  return wide;
}

Tensor gray(const Tensor& picture) { return one_channel("gray", picture, kGray); }

Tensor luma(const Tensor& picture) { return one_channel("luma", picture, kLuma); }

Tensor match_mean(const Tensor& result, const Tensor& reference, GtMean form) {
  check_same("match_mean", result, reference);
  const MeanPair weights = means_of(form);
  const double mean = mean_of(one_channel("match_mean", result, weights.result));
  const double wanted = mean_of(one_channel("match_mean", reference, weights.reference));
  Tensor scaled = wide_copy(result);
  if (mean > 0)  // a black result stays black
    parallel_for(kCpu, scaled.numel(), ScaleClamped{scaled.data<double>(), wanted / mean});
  return scaled;
}

}  // namespace lux::metrics
