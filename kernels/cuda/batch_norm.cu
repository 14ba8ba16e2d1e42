// With z = (x - mean) / √(variance + eps): y = w·z + b. The statistics read x once from memory: each slab
// finds its mean, and then, from the cache, the squares of what deviates from it; the slabs are joined by the
// formula of Chan et al. (1983), so nothing is lost where the mean is large.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/sums.cuh"

namespace lux::cuda {
namespace {

template <class T, int L>
struct SlabMoments {
  Slabs s;
  const T* x;
  float* partial;  // [slabs, 2, C]: mean, and sum of squared deviations from it

  LUX_DEVICE void operator()() const {
    LUX_SHARED Shared<float, kThreads * L> means;  // of the channels of this tile
    const Place at = Place::of(s, L);
    const int64_t begin = at.slab * s.slab, left = s.pixels - begin;
    const auto count = static_cast<float>(left < s.slab ? left : s.slab);
    float* const own = partial + at.slab * 2 * s.C + at.first_channel;

    Lanes<L> sums[1];
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      const Lanes<L> values = load<L>(x + pixel * s.C + c);
      for (int l = 0; l < L; ++l) sums[0][l] += values[l];
    });
    sum_rows<L, 1>(s, at, sums, [&](int, int i, float sum) {
      means[i] = sum / count;
      own[i] = sum / count;
    });

    Lanes<L> squares[1], mean;
    for (int l = 0; l < L; ++l) {
      if (at.first_channel + at.pack * L < s.C) mean[l] = means[at.pack * L + l];
    }
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      const Lanes<L> values = load<L>(x + pixel * s.C + c);
      for (int l = 0; l < L; ++l) squares[0][l] += (values[l] - mean[l]) * (values[l] - mean[l]);
    });
    sum_rows<L, 1>(s, at, squares, [&](int, int i, float sum) { own[s.C + i] = sum; });
  }
};

// A block has 32 channels, a warp every eighth slab of them.
struct JoinMoments {
  Slabs s;
  const float* partial;
  float *mean, *variance;

  int64_t blocks() const { return blocks_of(s.C, kWarp); }

  LUX_DEVICE void operator()() const {
    const int64_t c = block_index() * kWarp + thread_index() % kWarp;
    const auto all = static_cast<float>(s.pixels);
    float sum = 0;
    each_slab(c, [&](int64_t slab, float count) { sum += count * partial[slab * 2 * s.C + c]; });
    const float center = of_column(sum) / all;
    float squares = 0;
    each_slab(c, [&](int64_t slab, float count) {
      const float off = partial[slab * 2 * s.C + c] - center;
      squares += partial[(slab * 2 + 1) * s.C + c] + count * off * off;
    });
    squares = of_column(squares);
    if (thread_index() >= kWarp || c >= s.C) return;
    mean[c] = center;
    variance[c] = squares / all;
  }

  template <class F>
  LUX_DEVICE void each_slab(int64_t c, const F& f) const {
    if (c >= s.C) return;
    for (int64_t slab = thread_index() / kWarp; slab < s.slabs; slab += kWarps) {
      const int64_t left = s.pixels - slab * s.slab;
      f(slab, static_cast<float>(left < s.slab ? left : s.slab));
    }
  }
};

template <class T>
struct Operands {
  const T *x, *weight, *bias;
  const float *mean, *variance;
  float eps;
};

// What this thread's channels are multiplied with.
template <int L>
struct Factors {
  Lanes<L> mean, factor, weight;

  template <class T>
  LUX_DEVICE Factors(const Slabs& s, const Place& at, const Operands<T>& in) {
    const int64_t c = at.first_channel + at.pack * L;
    if (c >= s.C) return;
    for (int l = 0; l < L; ++l) {
      mean[l] = in.mean[c + l];
      factor[l] = 1.0f / std::sqrt(in.variance[c + l] + in.eps);
      weight[l] = static_cast<float>(in.weight[c + l]);
    }
  }
  LUX_DEVICE float normal(float x, int l) const { return (x - mean[l]) * factor[l]; }
};

template <class T, int L>
struct Normalize {
  Slabs s;
  Operands<T> in;
  T* y;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const Factors<L> of(s, at, in);
    Lanes<L> bias;
    if (at.first_channel + at.pack * L < s.C) bias = load<L>(in.bias + at.first_channel + at.pack * L);
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      Lanes<L> values = load<L>(in.x + pixel * s.C + c);
      for (int l = 0; l < L; ++l) values[l] = of.weight[l] * of.normal(values[l], l) + bias[l];
      store(y + pixel * s.C + c, values);
    });
  }
};

template <class T, int L>
struct ParameterGradient {
  Slabs s;
  Operands<T> in;
  const T* gy;
  float* partial;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const Factors<L> of(s, at, in);
    Lanes<L> sums[2];
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      const Lanes<L> values = load<L>(in.x + pixel * s.C + c), g = load<L>(gy + pixel * s.C + c);
      for (int l = 0; l < L; ++l) {
        sums[0][l] += g[l] * of.normal(values[l], l);
        sums[1][l] += g[l];
      }
    });
    put_partial<L, 2>(s, at, sums, partial);
  }
};

template <class T>
struct StoreParameterGradients {
  T *gw, *gb;
  int64_t C;
  LUX_DEVICE void operator()(int64_t, int64_t column, float sum) const {
    T* const to = column < C ? gw : gb;  // GCC 12's sanitizers lose the index of (… ? gw : gb)[i]
    to[column % C] = T(sum);
  }
};

// gx = w / √(variance + eps) · (gy - (gb + z·gw) / n), without the sums where the statistics are constants.
template <class T, int L>
struct InputGradient {
  Slabs s;
  Operands<T> in;
  const T *gy, *gw, *gb;  // gw null: constants
  T* gx;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const Factors<L> of(s, at, in);
    const int64_t channel = at.first_channel + at.pack * L;
    Lanes<L> w, b;
    if (gw != nullptr && channel < s.C) {
      w = load<L>(gw + channel);
      b = load<L>(gb + channel);
    }
    const auto n = static_cast<float>(s.pixels);
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      Lanes<L> g = load<L>(gy + pixel * s.C + c);
      if (gw != nullptr) {
        const Lanes<L> values = load<L>(in.x + pixel * s.C + c);
        for (int l = 0; l < L; ++l) g[l] -= (b[l] + of.normal(values[l], l) * w[l]) / n;
      }
      for (int l = 0; l < L; ++l) g[l] *= of.weight[l] * of.factor[l];
      store(gx + pixel * s.C + c, g);
    });
  }
};

Slabs slabs_of(const Tensor& x, int lanes) { return Slabs::of(1, x.numel() / x.size(3), x.size(3), lanes); }

template <class T>
Operands<T> operands_of(const NormalizeOperands& in) {
  return {in.x.data<T>(),        in.weight.data<T>(),       in.bias.data<T>(),
          in.mean.data<float>(), in.variance.data<float>(), static_cast<float>(in.eps)};
}

bool channel_statistics(const Tensor& x, const Tensor& mean, const Tensor& variance) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("channel_statistics", {x, mean, variance});
    with_lanes<T>(x.size(3), [&](auto lanes) {
      const Slabs s = slabs_of(x, lanes);
      const Tensor partial = s.partial(2, x.device());
      launch(s.blocks(), SlabMoments<T, lanes>{s, x.data<T>(), partial.data<float>()});
      const JoinMoments join{s, partial.data<float>(), mean.data<float>(), variance.data<float>()};
      launch(join.blocks(), join);
    });
  });
}

bool normalize(const NormalizeOperands& in, const Tensor& y) {
  return dispatch_tuned(y.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("normalize", {in.x, in.weight, in.bias, in.mean, in.variance, y});
    with_lanes<T>(y.size(3), [&](auto lanes) {
      const Slabs s = slabs_of(y, lanes);
      launch(s.blocks(), Normalize<T, lanes>{s, operands_of<T>(in), y.data<T>()});
    });
  });
}

bool normalize_parameter_gradients(const NormalizeOperands& in, const Tensor& gy, const Tensor& gw,
                                   const Tensor& gb) {
  return dispatch_tuned(gy.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("normalize_parameter_gradients", {in.x, in.mean, in.variance, gy, gw, gb});
    with_lanes<T>(gy.size(3), [&](auto lanes) {
      const Slabs s = slabs_of(gy, lanes);
      const Tensor partial = s.partial(2, gy.device());
      launch(s.blocks(),
             ParameterGradient<T, lanes>{s, operands_of<T>(in), gy.data<T>(), partial.data<float>()});
      finish_sums(partial, s, 2, StoreParameterGradients<T>{gw.data<T>(), gb.data<T>(), s.C});
    });
  });
}

bool normalize_gradient(const NormalizeOperands& in, const Tensor& gy, const Tensor& gw, const Tensor& gb,
                        const Tensor& gx) {
  return dispatch_tuned(gy.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("normalize_gradient",
              {gw.defined() ? in.x : Tensor(), in.weight, in.mean, in.variance, gy, gw, gb, gx});
    with_lanes<T>(gy.size(3), [&](auto lanes) {
      const Slabs s = slabs_of(gy, lanes);
      launch(s.blocks(), InputGradient<T, lanes>{s, operands_of<T>(in), gy.data<T>(), data_or_null<T>(gw),
                                                 data_or_null<T>(gb), gx.data<T>()});
    });
  });
}

}  // namespace

void fill_batch_norm(Slots& slots, Device::Type device) {
  slots.channel_statistics.set(device, channel_statistics);
  slots.normalize.set(device, normalize);
  slots.normalize_parameter_gradients.set(device, normalize_parameter_gradients);
  slots.normalize_gradient.set(device, normalize_gradient);
}

}  // namespace lux::cuda
