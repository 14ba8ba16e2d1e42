// One call per window, for all its channels; the backward gathers, per pixel, from the windows that see it.
#include "luxgrad/kernels/pool2d.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/pixel.h"
#include "luxgrad/kernels/pool2d_axis.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"

namespace lux {
namespace {

using Axis = PoolAxis;

Axis make_axis(int64_t size, int64_t before, int64_t after, const Pool2dOptions& options) {
  const int64_t stride = options.stride == 0 ? options.kernel_size : options.stride;
  const int64_t span = size + before + after - options.kernel_size + (options.ceil_mode ? stride - 1 : 0);
  int64_t windows = span < 0 ? 0 : span / stride + 1;
  if (options.ceil_mode && (windows - 1) * stride >= size + before) --windows;  // it would start outside
  return {size, options.kernel_size, stride, before, after, windows, options.count_include_pad};
}

// Channels whose sums one call holds in registers.
constexpr int64_t kLanes = 16;

// f(lane) for `lanes` of them: a constant number, where it is all, is what becomes vectors.
template <class F>
LUX_HD void each_lane(int64_t lanes, const F& f) {
  if (lanes == kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) f(lane);
  } else {
    for (int64_t lane = 0; lane < lanes; ++lane) f(lane);
  }
}

template <class T>
struct AveragePool {
  const T* x;
  T* y;
  Axis rows, columns;
  int64_t C;

  LUX_HD void operator()(const Team& team, int64_t window) const {
    const auto [n, p, q] = Pixel::of(window, rows.windows, columns.windows);
    const auto count = static_cast<double>(rows.count(p) * columns.count(q));
    const int64_t h0 = rows.begin(p), h1 = rows.end(p), w0 = columns.begin(q), w1 = columns.end(q);
    const T* const first = x + Pixel{n, h0, w0}.index(rows.size, columns.size) * C;
    team.each((C + kLanes - 1) / kLanes, [&](int64_t group) {
      const int64_t c = group * kLanes, lanes = C - c < kLanes ? C - c : kLanes;
      double sums[kLanes] = {};
      for (int64_t h = 0; h < h1 - h0; ++h) {
        for (int64_t w = 0; w < w1 - w0; ++w) {
          const T* const from = first + (h * columns.size + w) * C + c;
          each_lane(lanes, [&](int64_t lane) { sums[lane] += static_cast<double>(Arith<T>(from[lane])); });
        }
      }
      T* const to = y + window * C + c;
      each_lane(lanes, [&](int64_t lane) { to[lane] = T(static_cast<Arith<T>>(sums[lane] / count)); });
    });
  }
};

template <class T>
struct AveragePoolGradient {
  const T* gy;
  T* gx;
  Axis rows, columns;
  int64_t C;

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    const auto [n, h, w] = Pixel::of(pixel, rows.size, columns.size);
    const int64_t first_p = rows.first_window(h), last_p = rows.last_window(h);
    const int64_t first_q = columns.first_window(w), last_q = columns.last_window(w);
    team.each(C, [&, n = n](int64_t c) {
      double sum = 0;
      for (int64_t p = first_p; p <= last_p; ++p) {
        for (int64_t q = first_q; q <= last_q; ++q) {
          const auto g = Arith<T>(gy[Pixel{n, p, q}.index(rows.windows, columns.windows) * C + c]);
          sum += static_cast<double>(g) / static_cast<double>(rows.count(p) * columns.count(q));
        }
      }
      gx[pixel * C + c] = T(static_cast<Arith<T>>(sum));
    });
  }
};

// Which pixel of its window is the largest, counted along the rows of the kernel; first come first served.
template <class T>
struct LargestTaps {
  const T* x;
  int32_t* taps;
  Axis rows, columns;
  int64_t C;

  LUX_HD int32_t tap(const Pixel& window, int64_t h, int64_t w) const {
    return static_cast<int32_t>((h - rows.begin(window.h)) * columns.kernel + w - columns.begin(window.w));
  }

  LUX_HD void operator()(const Team& team, int64_t index) const {
    const Pixel window = Pixel::of(index, rows.windows, columns.windows);
    const int64_t h0 = rows.begin(window.h), h1 = rows.end(window.h);
    const int64_t w0 = columns.begin(window.w), w1 = columns.end(window.w);
    team.each((C + kLanes - 1) / kLanes, [&](int64_t group) {
      const int64_t c = group * kLanes, lanes = C - c < kLanes ? C - c : kLanes;
      Arith<T> best[kLanes];
      int32_t* const to = taps + index * C + c;
      for (int64_t h = h0; h < h1; ++h) {
        for (int64_t w = w0; w < w1; ++w) {
          const T* const from = x + Pixel{window.n, h, w}.index(rows.size, columns.size) * C + c;
          const bool first = h == h0 && w == w0;
          const int32_t here = tap(window, h, w);
          each_lane(lanes, [&](int64_t lane) {
            const Arith<T> value = from[lane];
            const bool larger = first || value > best[lane] || value != value;
            best[lane] = larger ? value : best[lane];
            to[lane] = larger ? here : to[lane];
          });
        }
      }
    });
  }
};

// The values alone: y takes what is larger, pixel by pixel of the window.
template <class T>
struct MaxPool {
  const T* x;
  T* y;
  Axis rows, columns;
  int64_t C;

  LUX_HD void operator()(const Team& team, int64_t window) const {
    const auto [n, p, q] = Pixel::of(window, rows.windows, columns.windows);
    const int64_t h0 = rows.begin(p), w0 = columns.begin(q);
    T* const best = y + window * C;
    for (int64_t h = h0; h < rows.end(p); ++h) {
      for (int64_t w = w0; w < columns.end(q); ++w) {
        const T* const from = x + Pixel{n, h, w}.index(rows.size, columns.size) * C;
        const bool first = h == h0 && w == w0;
        team.each(C, [=](int64_t c) {
          const Arith<T> value = from[c];
          best[c] = first || value > Arith<T>(best[c]) || value != value ? from[c] : best[c];
        });
      }
    }
  }
};

template <class T>
struct MaxPoolGradient {
  LargestTaps<T> largest;
  const T* gy;
  T* gx;

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    const Axis &rows = largest.rows, &columns = largest.columns;
    const auto [n, h, w] = Pixel::of(pixel, rows.size, columns.size);
    const int64_t C = largest.C;
    const int64_t first_p = rows.first_window(h), last_p = rows.last_window(h);
    const int64_t first_q = columns.first_window(w), last_q = columns.last_window(w);
    team.each((C + kLanes - 1) / kLanes, [&, n = n, h = h, w = w](int64_t group) {
      const int64_t c = group * kLanes, lanes = C - c < kLanes ? C - c : kLanes;
      double sums[kLanes] = {};
      for (int64_t p = first_p; p <= last_p; ++p) {
        for (int64_t q = first_q; q <= last_q; ++q) {
          const Pixel window{n, p, q};
          const int64_t at = window.index(rows.windows, columns.windows) * C + c;
          const int32_t here = largest.tap(window, h, w);
          each_lane(lanes, [&](int64_t lane) {
            const Arith<T> g = gy[at + lane];
            sums[lane] += static_cast<double>(largest.taps[at + lane] == here ? g : Arith<T>(0));
          });
        }
      }
      T* const to = gx + pixel * C + c;
      each_lane(lanes, [&](int64_t lane) { to[lane] = T(static_cast<Arith<T>>(sums[lane])); });
    });
  }
};

// Of windows that share no pixel: each writes those that it sees, and nothing is kept between.
template <class T>
struct MaxPoolGradientApart {
  const T *x, *gy;
  T* gx;
  Axis rows, columns;
  int64_t C;

  LUX_HD void operator()(const Team& team, int64_t index) const {
    const auto [n, p, q] = Pixel::of(index, rows.windows, columns.windows);
    const int64_t first = Pixel{n, rows.begin(p), columns.begin(q)}.index(rows.size, columns.size) * C;
    const int64_t height = rows.end(p) - rows.begin(p), width = columns.end(q) - columns.begin(q);
    const int64_t row = columns.size * C;
    // Loops of a number that is not known: GCC makes vectors of them, and none of sixteen conditions.
    team.each((C + kLanes - 1) / kLanes, [&](int64_t group) {
      const int64_t c = group * kLanes, lanes = C - c < kLanes ? C - c : kLanes;
      Arith<T> best[kLanes] = {}, g[kLanes];
      int32_t largest[kLanes] = {};
      for (int64_t lane = 0; lane < lanes; ++lane) g[lane] = gy[index * C + c + lane];
      for (int64_t tap = 0; tap < height * width; ++tap) {
        const T* const from = x + first + tap / width * row + tap % width * C + c;
        const auto here = static_cast<int32_t>(tap);
        for (int64_t lane = 0; lane < lanes; ++lane) {
          const Arith<T> value = from[lane];
          const bool larger = (here == 0) | (value > best[lane]) | (value != value);
          best[lane] = larger ? value : best[lane];
          largest[lane] = larger ? here : largest[lane];
        }
      }
      for (int64_t tap = 0; tap < height * width; ++tap) {
        T* const to = gx + first + tap / width * row + tap % width * C + c;
        const auto here = static_cast<int32_t>(tap);
        for (int64_t lane = 0; lane < lanes; ++lane)
          to[lane] = T(largest[lane] == here ? g[lane] : Arith<T>(0));
      }
    });
  }
};

struct Windows {
  Axis rows, columns;
};

Windows windows_of(const char* name, const Shape& s, const Pool2dOptions& options) {
  const Padding& pad = options.padding;
  check(s.rank() == 4, name, ": expected [N, H, W, C], got ", s);
  check(options.kernel_size >= 1 && options.stride >= 0, name,
        ": expected a kernel of at least 1 and a stride of at least 0, got ", options.kernel_size, " and ",
        options.stride);
  check(std::min({pad.top, pad.bottom, pad.left, pad.right}) >= 0 &&
            std::max({pad.top, pad.bottom, pad.left, pad.right}) < options.kernel_size,
        name, ": expected padding of 0 … ", options.kernel_size - 1, ", got ", pad.top, ", ", pad.bottom,
        ", ", pad.left, ", ", pad.right);
  Windows windows{make_axis(s[1], pad.top, pad.bottom, options),
                  make_axis(s[2], pad.left, pad.right, options)};
  check(windows.rows.windows >= 1 && windows.columns.windows >= 1, name,
        ": expected a picture that a window of ", options.kernel_size, " fits into, got ", s);
  return windows;
}

// Some rows of max_pool2d: the windows that begin there, padded only where the picture ends.
struct PooledRows final : RowOperator {
  using Operator = Tensor (*)(const Tensor&, const Pool2dOptions&);
  PooledRows(Operator pool, const Pool2dOptions& options)
      : pool(pool), options(options), stride(options.stride == 0 ? options.kernel_size : options.stride) {}

  Shape shape(const std::vector<Shape>& inputs) const override {
    const Shape& s = inputs[0];
    const auto [rows, columns] = windows_of("pool2d", s, options);
    return {1, rows.windows, columns.windows, s[3]};
  }
  Rows reads(Rows y) const override {
    const int64_t first = y.begin * stride - options.padding.top;
    return {first, first + (y.count() - 1) * stride + options.kernel_size};
  }
  void run(const Bands& inputs, const Band& y) const override {
    const Rows wanted = reads(y.rows), given = inputs.rows;
    Pool2dOptions here = options;
    here.padding.top = given.begin - wanted.begin;
    here.padding.bottom = wanted.end - given.end;
    copy_(y.tensor, pool(inputs.tensors[0], here));
  }
  Tensor whole(const Tensors& inputs) const override { return pool(inputs[0], options); }
  bool copies() const override { return true; }

  Operator pool;
  Pool2dOptions options;
  int64_t stride;
};

}  // namespace

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const OperatorScope scope("avg_pool2d", x);
  const Shape s = x.shape();
  const auto [rows, columns] = windows_of("avg_pool2d", s, options);
  Tensor y = empty({s[0], rows.windows, columns.windows, s[3]}, x.options());
  if (!slots().avg_pool2d(x.device(), x, rows, columns, y)) {
    dispatch(x.dtype(), [&, rows = rows, columns = columns](auto t) {
      using T = decltype(t);
      parallel_pixels(y, AveragePool<T>{x.data<T>(), y.data<T>(), rows, columns, s[3]});
    });
  }
  if (!(options.ceil_mode && options.count_include_pad))  // else rows beyond the end and padding differ
    describe_rows(y, {x}, PooledRows(avg_pool2d, options));

  return differentiable("avg_pool2d", y, {x}, [s, rows = rows, columns = columns](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    if (slots().avg_pool2d_gradient(gy.device(), gy, rows, columns, gx)) return Grads{gx};
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_pixels(gx, AveragePoolGradient<T>{gy.data<T>(), gx.data<T>(), rows, columns, s[3]});
    });
    return Grads{gx};
  });
}

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const OperatorScope scope("max_pool2d", x);
  const Shape s = x.shape();
  const auto [rows, columns] = windows_of("max_pool2d", s, options);
  for (const Axis& axis : {rows, columns}) {
    check(axis.begin(0) < axis.end(0) && axis.begin(axis.windows - 1) < axis.end(axis.windows - 1),
          "max_pool2d: expected windows that see a pixel, got ", s);
  }
  Tensor y = empty({s[0], rows.windows, columns.windows, s[3]}, x.options());
  if (!slots().max_pool2d(x.device(), x, rows, columns, y)) {
    dispatch(x.dtype(), [&, rows = rows, columns = columns](auto t) {
      using T = decltype(t);
      parallel_pixels(y, MaxPool<T>{x.data<T>(), y.data<T>(), rows, columns, s[3]});
    });
  }
  describe_rows(y, {x}, PooledRows(max_pool2d, options));

  return differentiable(
      "max_pool2d", y, {x}, [s, rows = rows, columns = columns, xs = SavedMap(x)](const Tensor& gy) {
        const bool apart = rows.apart() && columns.apart();
        const bool all = !apart || (rows.complete() && columns.complete());
        Tensor gx = all ? empty(s, gy.options()) : zeros(s, gy.options());
        const Tensor from = xs.get();
        if (slots().max_pool2d_gradient(gy.device(), from, gy, rows, columns, gx)) return Grads{gx};
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          if (apart) {
            parallel_pixels(
                gy, MaxPoolGradientApart<T>{from.data<T>(), gy.data<T>(), gx.data<T>(), rows, columns, s[3]});
            return;
          }
          const Storage taps(gy.numel() * static_cast<int64_t>(sizeof(int32_t)), gy.device());
          const LargestTaps<T> largest{from.data<T>(), static_cast<int32_t*>(taps.data()), rows, columns,
                                       s[3]};
          parallel_pixels(gy, largest);
          parallel_pixels(gx, MaxPoolGradient<T>{largest, gy.data<T>(), gx.data<T>()});
        });
        return Grads{gx};
      });
}

}  // namespace lux
