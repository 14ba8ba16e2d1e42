// The gradient of a weight is the sum over all pixels of gy · stream; that of a stream gy · weight.
#include "luxgrad/kernels/selective_kernel.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

constexpr int kMostStreams = 4;

// How many there are is known when compiling: a loop over an unknown number inside of the one over channels
// forbids vectors.
template <class T, int kStreams>
struct Streams {
  const T* data[kStreams] = {};

  explicit Streams(const Tensors& tensors) {
    for (size_t s = 0; s < kStreams; ++s) data[s] = tensors[s].data<T>();
  }
};

// run(count as a constant)
template <class Run>
void with_count(size_t count, const Run& run) {
  switch (count) {
    case 1:
      return run(std::integral_constant<int, 1>{});
    case 2:
      return run(std::integral_constant<int, 2>{});
    case 3:
      return run(std::integral_constant<int, 3>{});
    default:
      return run(std::integral_constant<int, kMostStreams>{});
  }
}

template <class T, int kStreams>
struct PooledSum {
  Streams<T, kStreams> x;
  T* y;
  int64_t C;
  double pixels;
  LUX_HD double term(int64_t pixel, int64_t c) const {
    double sum = 0;
    for (int s = 0; s < kStreams; ++s) sum += static_cast<double>(Arith<T>(x.data[s][pixel * C + c]));
    return sum;
  }
  LUX_HD void finish(int64_t n, int64_t c, double sum) const {
    y[n * C + c] = T(static_cast<Arith<T>>(sum / pixels));
  }
};

template <class T>
struct Spread {
  const T* gy;
  T* gx;
  int64_t C, pixels;
  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    const T* const from = gy + pixel / pixels * C;
    T* const to = gx + pixel * C;
    team.each(C, [&](int64_t c) { to[c] = T(Arith<T>(from[c]) / static_cast<Arith<T>>(pixels)); });
  }
};

template <class T, int kStreams>
struct WeightedSum {
  Streams<T, kStreams> x, weights;
  T* y;
  int64_t C, pixels;
  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    const int64_t at = pixel * C, channel = pixel / pixels * C;
    team.each(C, [x = x, weights = weights, y = y, at, channel](int64_t c) {
      A sum = 0;
      for (int s = 0; s < kStreams; ++s) sum += A(x.data[s][at + c]) * A(weights.data[s][channel + c]);
      y[at + c] = T(sum);
    });
  }
};

// Of one stream and its weight, in one pass over gy and the stream.
template <class T>
struct StreamGradient {
  const T *x, *weight, *gy;
  T *gx, *gw;  // gx null where nobody wants it
  int64_t C, pixels;

  LUX_HD void row(int64_t pixel) const {
    if (gx == nullptr) return;
    const int64_t at = pixel * C, channel = pixel / pixels * C;
    for (int64_t c = 0; c < C; ++c) gx[at + c] = T(Arith<T>(gy[at + c]) * Arith<T>(weight[channel + c]));
  }
  LUX_HD Arith<T> term(int64_t pixel, int64_t c) const {
    return Arith<T>(x[pixel * C + c]) * Arith<T>(gy[pixel * C + c]);
  }
  LUX_HD void finish(int64_t n, int64_t c, double sum) const {
    gw[n * C + c] = T(static_cast<Arith<T>>(sum));
  }
};

void check_streams(const char* name, const Tensors& streams) {
  check(!streams.empty() && streams.size() <= kMostStreams, name, ": expected 1 to ", kMostStreams,
        " streams, got ", streams.size());
  const Shape& shape = streams[0].shape();
  check(shape.rank() == 4 && shape.numel() > 0, name, ": expected streams [N, H, W, C] with pixels, got ",
        shape);
  for (const Tensor& stream : streams) {
    check(stream.shape() == shape && stream.dtype() == streams[0].dtype(), name,
          ": expected streams of one shape and dtype, got ", shape, " and ", stream.shape());
  }
}

}  // namespace

Tensor pooled_sum(const Tensors& streams) {
  const OperatorScope scope("pooled_sum", streams);
  check_streams("pooled_sum", streams);
  const Shape s = streams[0].shape();
  const int64_t N = s[0], C = s[3], pixels = s[1] * s[2];
  const size_t count = streams.size();
  Tensor y = empty({N, 1, 1, C}, streams[0].options());
  if (!slots().pooled_sum(y.device(), streams, y)) {
    dispatch(y.dtype(), [&](auto t) {
      using T = decltype(t);
      with_count(count, [&](auto k) {
        reduce_columns(
            y.device(), N, pixels, C,
            PooledSum<T, k()>{Streams<T, k()>(streams), y.data<T>(), C, static_cast<double>(pixels)});
      });
    });
  }
  describe_statistic(y, streams);

  return differentiable("pooled_sum", y, streams, [s, count, C, pixels](const Tensor& gy, const Need& need) {
    Tensor gx = empty(s, gy.options());
    if (!slots().pooled_sum_gradient(gy.device(), gy, gx)) {
      dispatch(gy.dtype(), [&](auto t) {
        using T = decltype(t);
        parallel_rows(gy.device(), s[0] * pixels, C, Spread<T>{gy.data<T>(), gx.data<T>(), C, pixels});
      });
    }
    Grads grads(count);
    for (size_t i = 0; i < count; ++i) grads[i] = need(i) ? gx : Tensor();
    return grads;
  });
}

Tensor weighted_sum(const Tensors& streams, const Tensors& weights) {
  const OperatorScope scope("weighted_sum", streams, weights);
  check_streams("weighted_sum", streams);
  const Shape s = streams[0].shape();
  const int64_t N = s[0], C = s[3], pixels = s[1] * s[2];
  const size_t count = streams.size();
  check(weights.size() == count, "weighted_sum: expected ", count, " weights, got ", weights.size());
  for (const Tensor& weight : weights) {
    check(weight.shape() == Shape{N, 1, 1, C} && weight.dtype() == streams[0].dtype(),
          "weighted_sum: expected weights [", N, ", 1, 1, ", C, "] of the streams' dtype, got ",
          weight.shape());
  }
  Tensor y = empty(s, streams[0].options());
  if (!slots().weighted_sum(y.device(), streams, weights, y)) {
    dispatch(y.dtype(), [&](auto t) {
      using T = decltype(t);
      with_count(count, [&](auto k) {
        using Part = Streams<T, k()>;
        parallel_rows(y.device(), N * pixels, C * k(),
                      WeightedSum<T, k()>{Part(streams), Part(weights), y.data<T>(), C, pixels});
      });
    });
  }
  Tensors operands = weights;
  operands.insert(operands.end(), streams.begin(), streams.end());
  describe_pointwise(y, operands, [count](const Tensors& in) {
    const auto first = in.begin() + static_cast<std::ptrdiff_t>(count);
    return weighted_sum({first, in.end()}, {in.begin(), first});
  });
  std::vector<SavedMap> saved;
  for (const Tensor& operand : operands) saved.emplace_back(operand);
  return differentiable(
      "weighted_sum", y, operands,
      [s, N, C, pixels, count, saved = std::move(saved)](const Tensor& gy, const Need& need) {
        Grads grads(2 * count);  // of the weights, then of the streams
        Tensors x, w;
        for (size_t i = 0; i < count; ++i) {
          const size_t stream = count + i;
          w.push_back(saved[i].get());
          x.push_back(saved[stream].get());
          if (need(stream)) grads[stream] = empty(s, gy.options());
          if (need(i) || need(stream)) grads[i] = empty({N, 1, 1, C}, gy.options());
        }
        const auto half = grads.begin() + static_cast<std::ptrdiff_t>(count);
        if (slots().weighted_sum_gradient(gy.device(), x, w, gy, {half, grads.end()}, {grads.begin(), half}))
          return grads;
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          for (size_t i = 0; i < count; ++i) {
            const size_t stream = count + i;
            if (!need(i) && !need(stream)) continue;
            reduce_columns(gy.device(), N, pixels, C,
                           StreamGradient<T>{x[i].data<T>(), w[i].data<T>(), gy.data<T>(),
                                             need(stream) ? grads[stream].data<T>() : nullptr,
                                             grads[i].data<T>(), C, pixels});
          }
        });
        return grads;
      });
}

}  // namespace lux
