// One call per output element; the backward gathers, per pixel, from the windows that see it.
#include "luxgrad/kernels/pool2d.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// Windows along one axis of `size` pixels.
struct Axis {
  int64_t size, kernel, stride, before, after, windows;
  bool include_pad;

  LUX_HD int64_t begin(int64_t window) const { return std::max<int64_t>(0, window * stride - before); }
  LUX_HD int64_t end(int64_t window) const { return std::min(size, window * stride - before + kernel); }
  /// How many pixels the divisor counts.
  LUX_HD int64_t count(int64_t window) const {
    if (!include_pad) return end(window) - begin(window);
    return std::min(size + after, window * stride - before + kernel) - (window * stride - before);
  }
  LUX_HD int64_t first_window(int64_t pixel) const {
    return std::max<int64_t>(0, (pixel + before - kernel + stride) / stride);
  }
  LUX_HD int64_t last_window(int64_t pixel) const { return std::min(windows - 1, (pixel + before) / stride); }
};

Axis make_axis(int64_t size, int64_t before, int64_t after, const Pool2dOptions& options) {
  const int64_t stride = options.stride == 0 ? options.kernel_size : options.stride;
  const int64_t span = size + before + after - options.kernel_size + (options.ceil_mode ? stride - 1 : 0);
  int64_t windows = span < 0 ? 0 : span / stride + 1;
  if (options.ceil_mode && (windows - 1) * stride >= size + before) --windows;  // it would start outside
  return {size, options.kernel_size, stride, before, after, windows, options.count_include_pad};
}

template <class T>
struct AveragePool {
  const T* x;
  T* y;
  Axis rows, columns;
  int64_t C;

  LUX_HD void operator()(int64_t i) const {
    const int64_t c = i % C, q = i / C % columns.windows, p = i / C / columns.windows % rows.windows;
    const int64_t n = i / C / columns.windows / rows.windows;
    double sum = 0;
    for (int64_t h = rows.begin(p); h < rows.end(p); ++h) {
      const T* const line = x + (n * rows.size + h) * columns.size * C + c;
      for (int64_t w = columns.begin(q); w < columns.end(q); ++w)
        sum += static_cast<double>(Arith<T>(line[w * C]));
    }
    y[i] = T(static_cast<Arith<T>>(sum / static_cast<double>(rows.count(p) * columns.count(q))));
  }
};

template <class T>
struct AveragePoolGradient {
  const T* gy;
  T* gx;
  Axis rows, columns;
  int64_t C;

  LUX_HD void operator()(int64_t i) const {
    const int64_t c = i % C, w = i / C % columns.size, h = i / C / columns.size % rows.size;
    const int64_t n = i / C / columns.size / rows.size;
    double sum = 0;
    for (int64_t p = rows.first_window(h); p <= rows.last_window(h); ++p) {
      for (int64_t q = columns.first_window(w); q <= columns.last_window(w); ++q) {
        const auto g = Arith<T>(gy[((n * rows.windows + p) * columns.windows + q) * C + c]);
        sum += static_cast<double>(g) / static_cast<double>(rows.count(p) * columns.count(q));
      }
    }
    gx[i] = T(static_cast<Arith<T>>(sum));
  }
};

// The position, in x, of the largest pixel of a window, first come first served.
template <class T>
struct Largest {
  const T* x;
  Axis rows, columns;
  int64_t C;

  LUX_HD int64_t operator()(int64_t n, int64_t p, int64_t q, int64_t c) const {
    int64_t best = -1;
    for (int64_t h = rows.begin(p); h < rows.end(p); ++h) {
      for (int64_t w = columns.begin(q); w < columns.end(q); ++w) {
        const int64_t at = ((n * rows.size + h) * columns.size + w) * C + c;
        const Arith<T> value = x[at];
        if (best < 0 || value > Arith<T>(x[best]) || value != value) best = at;
      }
    }
    return best;
  }
};

template <class T>
struct MaxPool {
  Largest<T> largest;
  T* y;

  LUX_HD void operator()(int64_t i) const {
    const int64_t C = largest.C, Q = largest.columns.windows, P = largest.rows.windows;
    y[i] = largest.x[largest(i / C / Q / P, i / C / Q % P, i / C % Q, i % C)];
  }
};

template <class T>
struct MaxPoolGradient {
  Largest<T> largest;
  const T* gy;
  T* gx;

  LUX_HD void operator()(int64_t i) const {
    const Axis &rows = largest.rows, &columns = largest.columns;
    const int64_t C = largest.C, c = i % C, w = i / C % columns.size, h = i / C / columns.size % rows.size;
    const int64_t n = i / C / columns.size / rows.size;
    double sum = 0;
    for (int64_t p = rows.first_window(h); p <= rows.last_window(h); ++p) {
      for (int64_t q = columns.first_window(w); q <= columns.last_window(w); ++q) {
        if (largest(n, p, q, c) == i)
          sum += static_cast<double>(Arith<T>(gy[((n * rows.windows + p) * columns.windows + q) * C + c]));
      }
    }
    gx[i] = T(static_cast<Arith<T>>(sum));
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
  explicit PooledRows(const Pool2dOptions& options)
      : options(options), stride(options.stride == 0 ? options.kernel_size : options.stride) {}

  Shape shape(const std::vector<Shape>& inputs) const override {
    const Shape& s = inputs[0];
    const auto [rows, columns] = windows_of("max_pool2d", s, options);
    return {1, rows.windows, columns.windows, s[3]};
  }
  Rows reads(Rows y) const override {
    const int64_t first = y.begin * stride - options.padding.top;
    return {first, first + (y.count() - 1) * stride + options.kernel_size};
  }
  void run(const Bands& inputs, const Band& y) const override {
    const Rows wanted = reads(y.rows), given = inputs[0].rows;
    Pool2dOptions here = options;
    here.padding.top = given.begin - wanted.begin;
    here.padding.bottom = wanted.end - given.end;
    copy_(y.tensor, max_pool2d(inputs[0].tensor, here));
  }
  Tensor whole(const Tensors& inputs) const override { return max_pool2d(inputs[0], options); }

  Pool2dOptions options;
  int64_t stride;
};

}  // namespace

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const Shape s = x.shape();
  const auto [rows, columns] = windows_of("avg_pool2d", s, options);
  Tensor y = empty({s[0], rows.windows, columns.windows, s[3]}, x.options());
  dispatch(x.dtype(), [&, rows = rows, columns = columns](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), y.numel(), AveragePool<T>{x.data<T>(), y.data<T>(), rows, columns, s[3]});
  });

  return differentiable("avg_pool2d", y, {x}, [s, rows = rows, columns = columns](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(gy.device(), gx.numel(),
                   AveragePoolGradient<T>{gy.data<T>(), gx.data<T>(), rows, columns, s[3]});
    });
    return Grads{gx};
  });
}

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const Shape s = x.shape();
  const auto [rows, columns] = windows_of("max_pool2d", s, options);
  for (const Axis& axis : {rows, columns}) {
    check(axis.begin(0) < axis.end(0) && axis.begin(axis.windows - 1) < axis.end(axis.windows - 1),
          "max_pool2d: expected windows that see a pixel, got ", s);
  }
  Tensor y = empty({s[0], rows.windows, columns.windows, s[3]}, x.options());
  dispatch(x.dtype(), [&, rows = rows, columns = columns](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), y.numel(), MaxPool<T>{{x.data<T>(), rows, columns, s[3]}, y.data<T>()});
  });
  describe_rows(y, {x}, PooledRows(options));

  return differentiable(
      "max_pool2d", y, {x}, [s, rows = rows, columns = columns, xs = Saved(x)](const Tensor& gy) {
        Tensor gx = empty(s, gy.options());
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          parallel_for(
              gy.device(), gx.numel(),
              MaxPoolGradient<T>{{xs.get().data<T>(), rows, columns, s[3]}, gy.data<T>(), gx.data<T>()});
        });
        return Grads{gx};
      });
}

}  // namespace lux
