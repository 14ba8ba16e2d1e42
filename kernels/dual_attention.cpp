// With s of a pixel and k of a channel: y = [x·s | x·k], gs = Σ_c gy_s·x, gk = Σ_pixels gy_k·x, gx = gy_s·s +
// gy_k·k. The three poolings are one tensor to the graph, of which the caller gets the parts.
#include "luxgrad/kernels/dual_attention.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/amax.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/largest.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// Rows [largest of each pixel | average of each pixel | mean of each channel].
struct Packed {
  int64_t C, pixels;
  LUX_HD int64_t size() const { return 2 * pixels + C; }
  LUX_HD int64_t largest(int64_t pixel) const { return pixel / pixels * size() + pixel % pixels; }
  LUX_HD int64_t average(int64_t pixel) const { return largest(pixel) + pixels; }
  LUX_HD int64_t mean(int64_t n) const { return n * size() + 2 * pixels; }
};

template <class T>
struct Pool {
  const T* x;
  T* y;
  Packed at;

  LUX_HD void row(int64_t pixel) const {
    const T* const from = x + pixel * at.C;
    y[at.largest(pixel)] = T(largest_of(from, at.C));
    const double sum = Team{}.sum(at.C, [&](int64_t c) { return Arith<T>(from[c]); });
    y[at.average(pixel)] = T(static_cast<Arith<T>>(sum / static_cast<double>(at.C)));
  }
  LUX_HD Arith<T> term(int64_t pixel, int64_t c) const { return x[pixel * at.C + c]; }
  LUX_HD void finish(int64_t n, int64_t c, double sum) const {
    y[at.mean(n) + c] = T(static_cast<Arith<T>>(sum / static_cast<double>(at.pixels)));
  }
};

template <class T>
struct PoolGradient {
  const T *x, *gy;
  T* gx;
  Packed at;

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    const T* const from = x + pixel * at.C;
    const T* const of_channels = gy + at.mean(pixel / at.pixels);
    T* const to = gx + pixel * at.C;
    const A largest = largest_of(from, at.C), pixels = static_cast<A>(at.pixels);
    const double equal = team.sum(at.C, [&](int64_t c) { return A(from[c]) == largest ? 1.0 : 0.0; });
    const A share = A(gy[at.largest(pixel)]) / static_cast<A>(equal);
    const A even = A(gy[at.average(pixel)]) / static_cast<A>(at.C);
    team.each(at.C, [&](int64_t c) {
      to[c] = T(even + A(of_channels[c]) / pixels + (A(from[c]) == largest ? share : A(0)));
    });
  }
};

template <class T>
struct Scale {
  const T *x, *pixels, *channels;
  T* y;
  int64_t C, count;  // pixels of a picture
  int64_t pixel_part, channel_part;

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    const A of_pixel = pixels[pixel];
    const T* const from = x + pixel * C;
    const T* const of_channel = channels + pixel / count * C;
    T* const to = y + 2 * pixel * C;
    team.each(C, [&](int64_t c) {
      to[pixel_part + c] = T(A(from[c]) * of_pixel);
      to[channel_part + c] = T(A(from[c]) * A(of_channel[c]));
    });
  }
};

template <class T>
struct ScaleGradient {
  Scale<T> forward;
  const T* gy;
  T *gx, *gpixels, *gchannels;

  LUX_HD void row(int64_t pixel) const {
    using A = Arith<T>;
    const int64_t C = forward.C;
    const T* const from = forward.x + pixel * C;
    const T* const gy_pixel = gy + 2 * pixel * C + forward.pixel_part;
    const T* const gy_channel = gy + 2 * pixel * C + forward.channel_part;
    const T* const of_channel = forward.channels + pixel / forward.count * C;
    const A of_pixel = forward.pixels[pixel];
    for (int64_t c = 0; c < C; ++c)
      gx[pixel * C + c] = T(A(gy_pixel[c]) * of_pixel + A(gy_channel[c]) * A(of_channel[c]));
    const double sum = Team{}.sum(C, [&](int64_t c) { return A(gy_pixel[c]) * A(from[c]); });
    gpixels[pixel] = T(static_cast<A>(sum));
  }
  LUX_HD Arith<T> term(int64_t pixel, int64_t c) const {
    return Arith<T>(gy[2 * pixel * forward.C + forward.channel_part + c]) *
           Arith<T>(forward.x[pixel * forward.C + c]);
  }
  LUX_HD void finish(int64_t n, int64_t c, double sum) const {
    gchannels[n * forward.C + c] = T(static_cast<Arith<T>>(sum));
  }
};

template <class T>
Scale<T> scale_of(const Tensor& x, const Tensor& pixels, const Tensor& channels, AttentionOrder order) {
  const int64_t C = x.size(3);
  const bool first = order == AttentionOrder::pixels_first;
  return {x.data<T>(), pixels.data<T>(),      channels.data<T>(), nullptr,
          C,           x.size(1) * x.size(2), first ? 0 : C,      first ? C : 0};
}

}  // namespace

AttentionPools attention_pool(const Tensor& x) {
  const OperatorScope scope("attention_pool", x);
  const Shape s = x.shape();
  check(s.rank() == 4 && s.numel() > 0, "attention_pool: expected a picture [N, H, W, C] with pixels, got ",
        s);
  if (detail::row_recorder() != nullptr)  // row by row, or a statistic: operators of their own, the same bits
    return {amax(x), mean(x, {3}, true), mean(x, {1, 2}, true)};
  const int64_t N = s[0];
  const Packed at{s[3], s[1] * s[2]};
  Tensor y = empty({N, at.size()}, x.options());
  if (!slots().attention_pool(x.device(), x, y)) {
    dispatch(x.dtype(), [&](auto t) {
      using T = decltype(t);
      reduce_columns(x.device(), N, at.pixels, at.C, Pool<T>{x.data<T>(), y.data<T>(), at});
    });
  }

  const Tensor all =
      differentiable("attention_pool", y, {x}, [s, at, xs = SavedMap(x), ys = Saved(y)](const Tensor& gy) {
        Tensor gx = empty(s, gy.options());
        const Tensor from = xs.get();
        if (slots().attention_pool_gradient(gy.device(), from, ys.get(), gy, gx)) return Grads{gx};
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          parallel_rows(gy.device(), s[0] * at.pixels, at.C,
                        PoolGradient<T>{from.data<T>(), gy.data<T>(), gx.data<T>(), at});
        });
        return Grads{gx};
      });
  const Tensors parts = split(all, {at.pixels, at.pixels, at.C}, 1);
  return {reshape(parts[0], s.with(3, 1)), reshape(parts[1], s.with(3, 1)),
          reshape(parts[2], {N, 1, 1, at.C})};
}

Tensor attention_scale(const Tensor& x, const Tensor& pixels, const Tensor& channels, AttentionOrder order) {
  const OperatorScope scope("attention_scale", x, pixels, channels);
  const Shape s = x.shape();
  check(s.rank() == 4, "attention_scale: expected a picture [N, H, W, C], got ", s);
  const Shape of_pixels = s.with(3, 1), of_channels{s[0], 1, 1, s[3]};
  check(pixels.shape() == of_pixels && channels.shape() == of_channels && pixels.dtype() == x.dtype() &&
            channels.dtype() == x.dtype(),
        "attention_scale: expected attentions ", of_pixels, " and ", of_channels,
        " of the picture's dtype, got ", pixels.shape(), " and ", channels.shape());
  Tensor y = empty(s.with(3, 2 * s[3]), x.options());
  const bool first = order == AttentionOrder::pixels_first;
  if (!slots().attention_scale(x.device(), x, pixels, channels, first, y)) {
    dispatch(x.dtype(), [&](auto t) {
      using T = decltype(t);
      Scale<T> kernel = scale_of<T>(x, pixels, channels, order);
      kernel.y = y.data<T>();
      parallel_rows(x.device(), pixels.numel(), 2 * s[3], kernel);
    });
  }
  describe_pointwise(y, {channels, pixels, x},
                     [order](const Tensors& in) { return attention_scale(in[2], in[1], in[0], order); });

  return differentiable(
      "attention_scale", y, {x, pixels, channels},
      [order, first, xs = SavedMap(x), ps = Saved(pixels), cs = Saved(channels)](const Tensor& gy) {
        const Tensor from = xs.get();
        const Tensor &by_pixel = ps.get(), &by_channel = cs.get();
        Tensor gx = empty(from.shape(), gy.options()), gpixels = empty(by_pixel.shape(), gy.options()),
               gchannels = empty(by_channel.shape(), gy.options());
        if (slots().attention_scale_gradient(gy.device(), from, by_pixel, by_channel, gy, first, gx, gpixels,
                                             gchannels))
          return Grads{gx, gpixels, gchannels};
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          const Scale<T> forward = scale_of<T>(from, by_pixel, by_channel, order);
          reduce_columns(
              gy.device(), from.size(0), forward.count, forward.C,
              ScaleGradient<T>{forward, gy.data<T>(), gx.data<T>(), gpixels.data<T>(), gchannels.data<T>()});
        });
        return Grads{gx, gpixels, gchannels};
      });
}

}  // namespace lux
