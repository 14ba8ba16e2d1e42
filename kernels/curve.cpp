// All steps of a pixel run in registers: the picture and the maps are read once and the result is written
// once. The backward keeps no states: it runs the steps again and walks back over them.
#include "luxgrad/kernels/curve.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

constexpr int kChannels = 3;
constexpr int kMaxIterations = 16;

// The channels of a pixel go together, and with them one of the next pixel's, which is dropped: four fill
// vectors.
constexpr int kTogether = 4;

template <class T>
struct Curve {
  const T* x;
  const T* curves;
  T* y;
  int iterations;
  int64_t last;  // the pixel that has no next one

  LUX_HD void operator()(int64_t pixel) const {
    pixel < last ? run<kTogether>(pixel) : run<kChannels>(pixel);
  }

  template <int kCount>
  LUX_HD void run(int64_t pixel) const {
    using A = Arith<T>;
    const T *const from = x + pixel * kChannels, *a = curves + pixel * kChannels * iterations;
    A s[kCount];
    for (int c = 0; c < kCount; ++c) s[c] = from[c];
    for (int n = 0; n < iterations; ++n, a += kChannels) {
      for (int c = 0; c < kCount; ++c) s[c] += A(a[c]) * (s[c] * s[c] - s[c]);
    }
    for (int c = 0; c < kChannels; ++c) y[pixel * kChannels + c] = T(s[c]);
  }
};

// The same for one map for all steps: a run of elements at a time, which fill vectors.
template <class T>
struct CurveOfOneMap {
  static constexpr int64_t kRun = 16;
  const T* x;
  const T* curves;
  T* y;
  int iterations;
  int64_t elements;

  LUX_HD void operator()(int64_t run) const {
    using A = Arith<T>;
    const int64_t first = run * kRun, left = elements - first, count = left < kRun ? left : kRun;
    A s[kRun] = {}, a[kRun] = {};
    for (int64_t i = 0; i < count; ++i) {
      s[i] = x[first + i];
      a[i] = curves[first + i];
    }
    for (int n = 0; n < iterations; ++n) {
      for (int64_t i = 0; i < kRun; ++i) s[i] += a[i] * (s[i] * s[i] - s[i]);
    }
    for (int64_t i = 0; i < count; ++i) y[first + i] = T(s[i]);
  }
};

// With s the state before step n: dA_n = g·(s² - s), then g <- g·(1 + A_n·(2s - 1)).
template <class T>
struct CurveGradient {
  const T* x;
  const T* curves;
  const T* gy;
  T* gx;       // null where not needed
  T* gcurves;  // null where not needed
  int iterations;
  int64_t pixel_stride, step_stride;

  LUX_HD void operator()(int64_t pixel) const {
    using A = Arith<T>;
    const T* const a = curves + pixel * pixel_stride;
    T* const ga = gcurves == nullptr ? nullptr : gcurves + pixel * pixel_stride;
    for (int c = 0; c < kChannels; ++c) {
      A states[kMaxIterations];
      A s = x[pixel * kChannels + c];
      for (int n = 0; n < iterations; ++n) {
        states[n] = s;
        s += A(a[n * step_stride + c]) * (s * s - s);
      }
      A g = gy[pixel * kChannels + c];
      A shared = 0;
      for (int n = iterations - 1; n >= 0; --n) {
        s = states[n];  // NOLINT(clang-analyzer-security.ArrayBound): at most kMaxIterations, below
        const A step = g * (s * s - s);
        shared += step;
        if (ga != nullptr) ga[n * step_stride + c] = T(step_stride == 0 ? shared : step);
        g *= A(1) + A(a[n * step_stride + c]) * (A(2) * s - A(1));
      }
      if (gx != nullptr) gx[pixel * kChannels + c] = T(g);
    }
  }
};

void curve_into(const Tensor& x, const Tensor& curves, int iterations, const Tensor& y) {
  if (slots().curve(x.device(), x, curves, iterations, y)) return;
  const int64_t pixels = x.numel() / kChannels, pixel_stride = curves.size(3);
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    if (pixel_stride == kChannels) {
      using Kernel = CurveOfOneMap<T>;
      return parallel_for(x.device(), detail::blocks_of(x.numel(), Kernel::kRun),
                          Kernel{x.data<T>(), curves.data<T>(), y.data<T>(), iterations, x.numel()},
                          detail::kGrain / Kernel::kRun);
    }
    parallel_for(x.device(), pixels,
                 Curve<T>{x.data<T>(), curves.data<T>(), y.data<T>(), iterations, pixels - 1},
                 detail::kGrain / pixel_stride);
  });
}

struct CurvedRows final : RowOperator {
  explicit CurvedRows(int iterations) : iterations(iterations) {}
  Shape shape(const std::vector<Shape>& inputs) const override { return inputs[0]; }
  Rows reads(Rows y) const override { return y; }
  void run(const Bands& inputs, const Band& y) const override {
    curve_into(inputs.tensors[0], inputs.tensors[1], iterations, y.tensor);
  }
  Tensor whole(const Tensors& inputs) const override {
    return curve_iterations(inputs[0], inputs[1], iterations);
  }
  int iterations;
};

}  // namespace

Tensor curve_iterations(const Tensor& x, const Tensor& curves, int iterations) {
  const OperatorScope scope("curve_iterations", x, curves);
  const Shape s = x.shape();
  check(s.rank() == 4 && s[3] == kChannels, "curve_iterations: expected a picture [N, H, W, 3], got ", s);
  check(iterations >= 1 && iterations <= kMaxIterations, "curve_iterations: expected 1 to ", kMaxIterations,
        " iterations, got ", iterations);
  check(curves.shape() == s.with(3, int64_t{kChannels} * iterations) || curves.shape() == s,
        "curve_iterations: expected curves ", s.with(3, int64_t{kChannels} * iterations), " or ", s, ", got ",
        curves.shape());
  check(x.dtype() == curves.dtype(), "curve_iterations: expected equal dtypes, got ", x.dtype(), " and ",
        curves.dtype());
  const int64_t pixels = x.numel() / kChannels, pixel_stride = curves.size(3);
  const int64_t step_stride = pixel_stride == kChannels ? 0 : kChannels;
  const int64_t grain = detail::kGrain / pixel_stride;

  Tensor y = empty(s, x.options());
  curve_into(x, curves, iterations, y);
  describe_rows(y, {x, curves}, CurvedRows(iterations));

  const auto backward = [=, x = Saved(x), curves = Saved(curves)](const Tensor& gy, const Need& need) {
    Tensor gx, gcurves;
    if (need(0)) gx = empty(gy.shape(), gy.options());
    if (need(1)) gcurves = empty(curves.get().shape(), gy.options());
    if (slots().curve_gradient(gy.device(), x.get(), curves.get(), gy, iterations, gx, gcurves))
      return Grads{gx, gcurves};
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(gy.device(), pixels,
                   CurveGradient<T>{x.get().data<T>(), curves.get().data<T>(), gy.data<T>(),
                                    need(0) ? gx.data<T>() : nullptr, need(1) ? gcurves.data<T>() : nullptr,
                                    iterations, pixel_stride, step_stride},
                   grain);
    });
    return Grads{gx, gcurves};
  };
  return differentiable("curve_iterations", y, {x, curves}, backward);
}

}  // namespace lux
