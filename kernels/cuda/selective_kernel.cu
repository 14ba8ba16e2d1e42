// Streams are added, or weighted, while each is read once. The backward of the weighted sum makes the
// gradients of all streams and all weights in one pass.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/sums.cuh"

namespace lux::cuda {
namespace {

constexpr size_t kMost = 4;

template <class T>
struct Streams {
  T* data[kMost] = {};
  int count = 0;

  explicit Streams(const Tensors& tensors) {
    for (const Tensor& tensor : tensors) data[count++] = data_or_null<std::remove_const_t<T>>(tensor);
  }
};

template <class T, int L>
struct PooledSum {
  Slabs s;
  Streams<const T> x;
  float* partial;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    Lanes<L> sums[1];
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      LUX_UNROLL
      for (int k = 0; k < static_cast<int>(kMost); ++k) {
        if (k >= x.count) break;
        const Lanes<L> values = load<L>(x.data[k] + pixel * s.C + c);
        for (int l = 0; l < L; ++l) sums[0][l] += values[l];
      }
    });
    put_partial<L, 1>(s, at, sums, partial);
  }
};

template <class T>
struct StoreMean {
  T* y;
  int64_t C;
  float pixels;
  LUX_DEVICE void operator()(int64_t group, int64_t c, float sum) const {
    y[group * C + c] = T(sum / pixels);
  }
};

// Every pixel gets the same.
template <class T, int L>
struct Spread {
  Slabs s;
  const T* gy;
  T* gx;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const int64_t channel = at.first_channel + at.pack * L;
    Lanes<L> share;
    if (channel < s.C) share = load<L>(gy + at.group * s.C + channel);
    for (int l = 0; l < L; ++l) share[l] /= static_cast<float>(s.pixels);
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (inside) store(gx + pixel * s.C + c, share);
    });
  }
};

// The weights of this thread's channels stay in registers.
template <class T, int L, int n>
struct WeightedSum {
  Slabs s;
  Streams<const T> x, weights;
  T* y;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const int64_t channel = at.first_channel + at.pack * L;
    Lanes<L> w[n];
    LUX_UNROLL
    for (int k = 0; k < n; ++k) {
      if (channel < s.C) w[k] = load<L>(weights.data[k] + at.group * s.C + channel);
    }
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      Lanes<L> sum;
      LUX_UNROLL
      for (int k = 0; k < n; ++k) {
        const Lanes<L> values = load<L>(x.data[k] + pixel * s.C + c);
        for (int l = 0; l < L; ++l) sum[l] += values[l] * w[k][l];
      }
      store(y + pixel * s.C + c, sum);
    });
  }
};

template <class T, int L, int n>
struct WeightedSumGradient {
  static constexpr int kBlocksPerProcessor = 2;
  Slabs s;
  Streams<const T> x, weights;
  const T* gy;
  Streams<T> gx;  // null where not wanted
  float* partial;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const int64_t channel = at.first_channel + at.pack * L;
    Lanes<L> w[n], sums[n];
    LUX_UNROLL
    for (int k = 0; k < n; ++k) {
      if (channel < s.C) w[k] = load<L>(weights.data[k] + at.group * s.C + channel);
    }
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      const int64_t i = pixel * s.C + c;
      const Lanes<L> g = load<L>(gy + i);
      LUX_UNROLL
      for (int k = 0; k < n; ++k) {
        const Lanes<L> values = load<L>(x.data[k] + i);
        Lanes<L> to;
        for (int l = 0; l < L; ++l) {
          sums[k][l] += values[l] * g[l];
          to[l] = g[l] * w[k][l];
        }
        if (gx.data[k] != nullptr) store(gx.data[k] + i, to);
      }
    });
    put_partial<L, n>(s, at, sums, partial);
  }
};

template <class T>
struct StoreWeightGradients {
  Streams<T> gw;
  int64_t C;
  LUX_DEVICE void operator()(int64_t group, int64_t column, float sum) const {
    T* const to = gw.data[column / C];
    if (to != nullptr) to[group * C + column % C] = T(sum);
  }
};

Slabs slabs_of(const Tensor& x, int lanes) {
  return Slabs::of(x.size(0), x.size(1) * x.size(2), x.size(3), lanes);
}

Tensors joined(Tensors a, const Tensors& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

bool pooled_sum(const Tensors& streams, const Tensor& y) {
  if (streams.size() > kMost) return false;
  return dispatch_tuned(y.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("pooled_sum", joined(streams, {y}));
    with_lanes<T>(y.size(3), [&](auto lanes) {
      const Slabs s = slabs_of(streams[0], lanes);
      const Tensor partial = s.partial(1, y.device());
      launch(s.blocks(), PooledSum<T, lanes>{s, Streams<const T>(streams), partial.data<float>()});
      finish_sums(partial, s, 1, StoreMean<T>{y.data<T>(), s.C, static_cast<float>(s.pixels)});
    });
  });
}

bool pooled_sum_gradient(const Tensor& gy, const Tensor& gx) {
  return dispatch_tuned(gy.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("pooled_sum_gradient", {gy, gx});
    with_lanes<T>(gx.size(3), [&](auto lanes) {
      const Slabs s = slabs_of(gx, lanes);
      launch(s.blocks(), Spread<T, lanes>{s, gy.data<T>(), gx.data<T>()});
    });
  });
}

// f(n) for the number of streams as a constant, where there are two or three.
template <class F>
bool with_count(size_t count, const F& f) {
  if (count == 2) return f(std::integral_constant<int, 2>{});
  if (count == 3) return f(std::integral_constant<int, 3>{});
  return false;
}

bool weighted_sum(const Tensors& streams, const Tensors& weights, const Tensor& y) {
  return with_count(streams.size(), [&](auto n) {
    return dispatch_tuned(y.dtype(), [&](auto t) {
      using T = decltype(t);
      must_move("weighted_sum", joined(joined(streams, weights), {y}));
      with_lanes<T>(y.size(3), [&](auto lanes) {
        const Slabs s = slabs_of(y, lanes);
        launch(s.blocks(), WeightedSum<T, lanes, n>{s, Streams<const T>(streams), Streams<const T>(weights),
                                                    y.data<T>()});
      });
    });
  });
}

bool weighted_sum_gradient(const Tensors& streams, const Tensors& weights, const Tensor& gy,
                           const Tensors& gx, const Tensors& gw) {
  return with_count(streams.size(), [&](auto n) {
    return dispatch_tuned(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      must_move("weighted_sum_gradient", joined(joined(joined(streams, weights), gx), joined(gw, {gy})));
      with_lanes<T>(gy.size(3), [&](auto lanes) {
        const Slabs s = slabs_of(gy, lanes);
        const Tensor partial = s.partial(n, gy.device());
        launch(s.blocks(),
               WeightedSumGradient<T, lanes, n>{s, Streams<const T>(streams), Streams<const T>(weights),
                                                gy.data<T>(), Streams<T>(gx), partial.data<float>()});
        finish_sums(partial, s, n, StoreWeightGradients<T>{Streams<T>(gw), s.C});
      });
    });
  });
}

}  // namespace

void fill_selective_kernel(Slots& slots, Device::Type device) {
  slots.pooled_sum.set(device, pooled_sum);
  slots.pooled_sum_gradient.set(device, pooled_sum_gradient);
  slots.weighted_sum.set(device, weighted_sum);
  slots.weighted_sum_gradient.set(device, weighted_sum_gradient);
}

}  // namespace lux::cuda
