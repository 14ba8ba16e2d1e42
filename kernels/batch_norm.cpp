// With z = (x - mean) / √(variance + eps): y = w·z + b, gw = Σ gy·z, gb = Σ gy, and, where the statistics are
// those of x, gx = w / √(variance + eps) · (gy - gb / n - z·gw / n).
#include "luxgrad/kernels/batch_norm.h"

#include <cmath>

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/pixel.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"

namespace lux {
namespace {

// Mean, or mean square deviation from `center`, of every channel.
template <class T>
struct Moment {
  const T* x;
  const Arith<T>* center;  // null: the mean itself
  Arith<T>* result;
  int64_t C;
  double n;
  LUX_HD double term(int64_t pixel, int64_t c) const {
    const auto value = static_cast<double>(Arith<T>(x[pixel * C + c]));
    if (center == nullptr) return value;
    const double deviation = value - static_cast<double>(center[c]);
    return deviation * deviation;
  }
  LUX_HD void finish(int64_t, int64_t c, double sum) const { result[c] = static_cast<Arith<T>>(sum / n); }
};

// 1 / √(variance + eps) of every channel.
template <class A>
struct Factor {
  const A* variance;
  A* factor;
  A eps;
  LUX_HD void operator()(int64_t c) const { factor[c] = A(1) / std::sqrt(variance[c] + eps); }
};

// A team per pixel: no element has to divide to find its channel. Its loop works on a copy of the kernel,
// which no result can overwrite.
template <class T>
struct Normalize {
  const T *x, *weight, *bias;
  const Arith<T>*mean, *factor;
  T* y;
  int64_t C;

  LUX_HD Arith<T> normal(int64_t pixel, int64_t c) const {
    return (Arith<T>(x[pixel * C + c]) - mean[c]) * factor[c];
  }
  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    team.each(C, [k = *this, pixel](int64_t c) {
      k.y[pixel * k.C + c] = T(Arith<T>(k.weight[c]) * k.normal(pixel, c) + Arith<T>(k.bias[c]));
    });
  }
};

// gw with `with_normal`, gb without.
template <class T>
struct ParameterGradient {
  Normalize<T> forward;
  const T* gy;
  T* result;
  bool with_normal;
  LUX_HD Arith<T> term(int64_t pixel, int64_t c) const {
    const Arith<T> g = gy[pixel * forward.C + c];
    return with_normal ? g * forward.normal(pixel, c) : g;
  }
  LUX_HD void finish(int64_t, int64_t c, double sum) const { result[c] = T(static_cast<Arith<T>>(sum)); }
};

template <class T>
struct InputGradient {
  Normalize<T> forward;
  const T *gy, *gw, *gb;  // gw null: the statistics are constants
  T* gx;
  Arith<T> n;
  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    team.each(forward.C, [k = *this, pixel](int64_t c) {
      const int64_t i = pixel * k.forward.C + c;
      A g = k.gy[i];
      if (k.gw != nullptr) g -= (A(k.gb[c]) + k.forward.normal(pixel, c) * A(k.gw[c])) / k.n;
      k.gx[i] = T(A(k.forward.weight[c]) * k.forward.factor[c] * g);
    });
  }
};

void check_operands(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check(x.shape().rank() == 4 && x.numel() > 0,
        "batch_norm: expected a picture [N, H, W, C] with pixels, got ", x.shape());
  for (const Tensor& parameter : {weight, bias}) {
    check(parameter.shape() == Shape{x.size(3)} && parameter.dtype() == x.dtype(),
          "batch_norm: expected weight and bias [", x.size(3), "] of dtype ", x.dtype(), ", got ",
          parameter.shape(), " of ", parameter.dtype());
  }
}

template <class T>
Normalize<T> normalize_of(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& mean,
                          const Tensor& factor) {
  return {x.data<T>(), weight.data<T>(), bias.data<T>(), mean.data<Arith<T>>(), factor.data<Arith<T>>(),
          nullptr,     x.size(3)};
}

ChannelStatistics statistics_of(const Tensor& x) {
  const OperatorScope scope("batch_norm", x);
  const int64_t C = x.size(3), pixels = x.numel() / C;
  const TensorOptions options{arith_dtype(x.dtype()), x.device()};
  ChannelStatistics result{empty({C}, options), empty({C}, options)};
  if (slots().channel_statistics(x.device(), x, result.mean, result.variance)) return result;
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto n = static_cast<double>(pixels);
    auto* const mean = result.mean.data<Arith<T>>();
    auto* const variance = result.variance.data<Arith<T>>();
    reduce_columns(x.device(), 1, pixels, C, Moment<T>{x.data<T>(), nullptr, mean, C, n});
    reduce_columns(x.device(), 1, pixels, C, Moment<T>{x.data<T>(), mean, variance, C, n});
  });
  return result;
}

Tensor normalize(const Tensor& x, const Tensor& weight, const Tensor& bias,
                 const ChannelStatistics& statistics, double eps, bool of_batch) {
  const OperatorScope scope("batch_norm", x, weight, bias);
  Tensor y = empty(x.shape(), x.options());
  const Tensor factor = empty(statistics.variance.shape(), statistics.variance.options());
  const bool done =
      slots().normalize(x.device(), {x, weight, bias, statistics.mean, statistics.variance, eps}, y);
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    using A = Arith<T>;
    parallel_for(x.device(), factor.numel(),
                 Factor<A>{statistics.variance.data<A>(), factor.data<A>(), static_cast<A>(eps)});
    if (done) return;
    Normalize<T> forward = normalize_of<T>(x, weight, bias, statistics.mean, factor);
    forward.y = y.data<T>();
    parallel_pixels(x, forward);
  });
  describe_pointwise(y, {statistics.mean, statistics.variance, x},
                     [weight = weight.detach(), bias = bias.detach(), eps](const Tensors& in) {
                       return normalize(in[2], weight, bias, {in[0], in[1]}, eps, false);
                     });

  return differentiable(
      "batch_norm", y, {x, weight, bias},
      [xs = SavedMap(x), ws = Saved(weight), bs = Saved(bias), statistics, factor, eps, of_batch](
          const Tensor& gy, const Need& need) {
        const Tensor from = xs.get();
        const int64_t C = from.size(3), pixels = from.numel() / C;
        Grads grads(3);
        const bool sums = need(0) && of_batch;
        const NormalizeOperands in{from, ws.get(), bs.get(), statistics.mean, statistics.variance, eps};
        for (const size_t p : {size_t{1}, size_t{2}}) grads[p] = empty({C}, gy.options());
        const bool tuned = (need(1) || need(2) || sums) &&
                           slots().normalize_parameter_gradients(gy.device(), in, gy, grads[1], grads[2]);
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          const Normalize<T> forward = normalize_of<T>(from, ws.get(), bs.get(), statistics.mean, factor);
          for (const size_t p : {size_t{1}, size_t{2}}) {
            if (tuned || (!need(p) && !sums)) continue;
            reduce_columns(gy.device(), 1, pixels, C,
                           ParameterGradient<T>{forward, gy.data<T>(), grads[p].data<T>(), p == 1});
          }
          if (!need(0)) return;
          grads[0] = empty(gy.shape(), gy.options());
          if (slots().normalize_gradient(gy.device(), in, gy, sums ? grads[1] : Tensor(),
                                         sums ? grads[2] : Tensor(), grads[0]))
            return;
          parallel_pixels(gy, InputGradient<T>{forward, gy.data<T>(), sums ? grads[1].data<T>() : nullptr,
                                               sums ? grads[2].data<T>() : nullptr, grads[0].data<T>(),
                                               static_cast<Arith<T>>(pixels)});
        });
        for (const size_t p : {size_t{1}, size_t{2}}) {
          if (!need(p)) grads[p] = Tensor();
        }
        return grads;
      });
}

}  // namespace

BatchNorm batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_operands(x, weight, bias);
  const ChannelStatistics batch = statistics_of(x);
  for (const Tensor& statistic : {batch.mean, batch.variance}) describe_statistic(statistic, {x});
  return {normalize(x, weight, bias, batch, eps, true), batch};
}

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const ChannelStatistics& given,
                  double eps) {
  check_operands(x, weight, bias);
  const auto copy = [&](const Tensor& statistic) {
    check(statistic.shape() == Shape{x.size(3)}, "batch_norm: expected statistics [", x.size(3), "], got ",
          statistic.shape());
    return statistic.detach().clone().to(arith_dtype(x.dtype()));
  };
  return normalize(x, weight, bias, {copy(given.mean), copy(given.variance)}, eps, false);
}

}  // namespace lux
