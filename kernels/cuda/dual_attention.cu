// Each pass reads the picture once and makes of it what is needed of pixels and of channels: the threads of a
// pixel join their values by shuffles, the pixels of a slab by shared memory.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/sums.cuh"

namespace lux::cuda {
namespace {

struct Larger {  // a NaN is larger than anything
  LUX_DEVICE float operator()(float a, float b) const { return b > a || b != b ? b : a; }
};
struct Plus {
  LUX_DEVICE float operator()(float a, float b) const { return a + b; }
};

// Where the parts of rows [largest of each pixel | average of each pixel | mean of each channel] begin.
struct Packed {
  int64_t C, pixels;
  LUX_DEVICE int64_t size() const { return 2 * pixels + C; }
  LUX_DEVICE int64_t largest(int64_t pixel) const { return pixel / pixels * size() + pixel % pixels; }
  LUX_DEVICE int64_t average(int64_t pixel) const { return largest(pixel) + pixels; }
  LUX_DEVICE int64_t mean(int64_t n) const { return n * size() + 2 * pixels; }
};

template <class T, int L>
struct Pool {
  Slabs s;
  const T* x;
  T* y;
  float* partial;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const Packed parts{s.C, s.pixels};
    Lanes<L> sums[1];
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      float largest = -INFINITY, sum = 0;
      if (inside) {
        const Lanes<L> values = load<L>(x + pixel * s.C + c);
        for (int l = 0; l < L; ++l) {
          sums[0][l] += values[l];
          largest = Larger{}(largest, values[l]);
          sum += values[l];
        }
      }
      largest = of_pixel(s, at, largest, Larger{});
      sum = of_pixel(s, at, sum, Plus{});
      if (!inside || at.pack > 0) return;
      y[parts.largest(pixel)] = T(largest);
      y[parts.average(pixel)] = T(sum / static_cast<float>(s.C));
    });
    put_partial<L, 1>(s, at, sums, partial);
  }
};

template <class T>
struct StoreChannelMean {
  T* y;
  Packed parts;
  LUX_DEVICE void operator()(int64_t n, int64_t c, float sum) const {
    y[parts.mean(n) + c] = T(sum / static_cast<float>(parts.pixels));
  }
};

template <class T, int L>
struct PoolGradient {
  Slabs s;
  const T *x, *y, *gy;
  T* gx;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const Packed parts{s.C, s.pixels};
    const int64_t channel = at.first_channel + at.pack * L;
    Lanes<L> of_channel;  // of a pixel
    for (int l = 0; l < L && channel < s.C; ++l)
      of_channel[l] =
          static_cast<float>(gy[parts.mean(at.group) + channel + l]) / static_cast<float>(s.pixels);
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      Lanes<L> values;
      float largest = 0, equal = 0;
      if (inside) {
        values = load<L>(x + pixel * s.C + c);
        largest = static_cast<float>(y[parts.largest(pixel)]);
        for (int l = 0; l < L; ++l) equal += values[l] == largest ? 1.0f : 0.0f;
      }
      equal = of_pixel(s, at, equal, Plus{});
      if (!inside) return;
      const float share = static_cast<float>(gy[parts.largest(pixel)]) / equal;
      const float even = static_cast<float>(gy[parts.average(pixel)]) / static_cast<float>(s.C);
      for (int l = 0; l < L; ++l) values[l] = even + of_channel[l] + (values[l] == largest ? share : 0.0f);
      store(gx + pixel * s.C + c, values);
    });
  }
};

template <class T, int L>
struct Scale {
  Slabs s;
  const T *x, *pixels, *channels;
  T* y;
  int64_t pixel_part, channel_part;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const int64_t channel = at.first_channel + at.pack * L;
    Lanes<L> of_channel;
    if (channel < s.C) of_channel = load<L>(channels + at.group * s.C + channel);
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      const Lanes<L> values = load<L>(x + pixel * s.C + c);
      const auto of_pixel = static_cast<float>(pixels[pixel]);
      Lanes<L> by_pixel, by_channel;
      for (int l = 0; l < L; ++l) {
        by_pixel[l] = values[l] * of_pixel;
        by_channel[l] = values[l] * of_channel[l];
      }
      store(y + 2 * pixel * s.C + pixel_part + c, by_pixel);
      store(y + 2 * pixel * s.C + channel_part + c, by_channel);
    });
  }
};

template <class T, int L>
struct ScaleGradient {
  Slabs s;
  const T *x, *pixels, *channels, *gy;
  T *gx, *gpixels;
  int64_t pixel_part, channel_part;
  float* partial;

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    const int64_t channel = at.first_channel + at.pack * L;
    Lanes<L> of_channel, sums[1];
    if (channel < s.C) of_channel = load<L>(channels + at.group * s.C + channel);
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      float sum = 0;
      if (inside) {
        const Lanes<L> values = load<L>(x + pixel * s.C + c);
        const Lanes<L> g_pixel = load<L>(gy + 2 * pixel * s.C + pixel_part + c);
        const Lanes<L> g_channel = load<L>(gy + 2 * pixel * s.C + channel_part + c);
        const auto of_pixel = static_cast<float>(pixels[pixel]);
        Lanes<L> to;
        for (int l = 0; l < L; ++l) {
          to[l] = g_pixel[l] * of_pixel + g_channel[l] * of_channel[l];
          sum += g_pixel[l] * values[l];
          sums[0][l] += g_channel[l] * values[l];
        }
        store(gx + pixel * s.C + c, to);
      }
      sum = of_pixel(s, at, sum, Plus{});
      if (inside && at.pack == 0) gpixels[pixel] = T(sum);
    });
    put_partial<L, 1>(s, at, sums, partial);
  }
};

template <class T>
struct StoreSum {
  T* y;
  int64_t C;
  LUX_DEVICE void operator()(int64_t n, int64_t c, float sum) const { y[n * C + c] = T(sum); }
};

// f(lanes, slabs) where a block has all channels of its pixels.
template <class T, class F>
bool with_pixels(const Tensor& x, const F& f) {
  bool taken = false;
  with_lanes<T>(x.size(3), [&](auto lanes) {
    const Slabs s = Slabs::of(x.size(0), x.size(1) * x.size(2), x.size(3), lanes);
    taken = s.tiles == 1;
    if (taken) f(lanes, s);
  });
  return taken;
}

bool attention_pool(const Tensor& x, const Tensor& y) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    return with_pixels<T>(x, [&](auto lanes, const Slabs& s) {
      must_move("attention_pool", {x, y});
      const Tensor partial = s.partial(1, x.device());
      launch(s.blocks(), Pool<T, lanes>{s, x.data<T>(), y.data<T>(), partial.data<float>()});
      finish_sums(partial, s, 1, StoreChannelMean<T>{y.data<T>(), {s.C, s.pixels}});
    });
  });
}

bool attention_pool_gradient(const Tensor& x, const Tensor& y, const Tensor& gy, const Tensor& gx) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    return with_pixels<T>(x, [&](auto lanes, const Slabs& s) {
      must_move("attention_pool_gradient", {x, y, gy, gx});
      launch(s.blocks(), PoolGradient<T, lanes>{s, x.data<T>(), y.data<T>(), gy.data<T>(), gx.data<T>()});
    });
  });
}

bool attention_scale(const Tensor& x, const Tensor& pixels, const Tensor& channels, const bool& pixels_first,
                     const Tensor& y) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    return with_pixels<T>(x, [&](auto lanes, const Slabs& s) {
      must_move("attention_scale", {x, pixels, channels, y});
      launch(s.blocks(), Scale<T, lanes>{s, x.data<T>(), pixels.data<T>(), channels.data<T>(), y.data<T>(),
                                         pixels_first ? 0 : s.C, pixels_first ? s.C : 0});
    });
  });
}

bool attention_scale_gradient(const Tensor& x, const Tensor& pixels, const Tensor& channels, const Tensor& gy,
                              const bool& pixels_first, const Tensor& gx, const Tensor& gpixels,
                              const Tensor& gchannels) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    return with_pixels<T>(x, [&](auto lanes, const Slabs& s) {
      must_move("attention_scale_gradient", {x, pixels, channels, gy, gx, gpixels, gchannels});
      const Tensor partial = s.partial(1, x.device());
      launch(s.blocks(),
             ScaleGradient<T, lanes>{s, x.data<T>(), pixels.data<T>(), channels.data<T>(), gy.data<T>(),
                                     gx.data<T>(), gpixels.data<T>(), pixels_first ? 0 : s.C,
                                     pixels_first ? s.C : 0, partial.data<float>()});
      finish_sums(partial, s, 1, StoreSum<T>{gchannels.data<T>(), s.C});
    });
  });
}

}  // namespace

void fill_dual_attention(Slots& slots, Device::Type device) {
  slots.attention_pool.set(device, attention_pool);
  slots.attention_pool_gradient.set(device, attention_pool_gradient);
  slots.attention_scale.set(device, attention_scale);
  slots.attention_scale_gradient.set(device, attention_scale_gradient);
}

}  // namespace lux::cuda
