// One thread per pixel, its states and maps in registers; with eight steps the maps come in accesses of 16
// bytes. The backward runs the steps again instead of reading states. The picture, a tenth of the bytes, goes
// value by value: for wide accesses a thread would own 4 or 8 pixels, and so as many times 24 maps.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/launch.cuh"

namespace lux::cuda {
namespace {

constexpr int kMostSteps = 16;

// The maps of a pixel. Eight: eight steps with a map for each, read at once.
template <class T, bool kEight>
struct Maps {
  static constexpr int kSteps = 8;
  float values[3 * kSteps];

  LUX_DEVICE Maps(const T* maps, int64_t) {
    LUX_UNROLL
    for (int i = 0; i < 3 * kSteps; i += kWide<T>) {
      const Lanes<kWide<T>> lanes = load<kWide<T>>(maps + i);
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l) values[i + l] = lanes[l];
    }
  }
  LUX_DEVICE float operator()(int n, int c) const { return values[3 * n + c]; }
};

template <class T>
struct Maps<T, false> {
  static constexpr int kSteps = kMostSteps;
  const T* maps;
  int64_t step_stride;

  LUX_DEVICE Maps(const T* maps, int64_t step_stride) : maps(maps), step_stride(step_stride) {}
  LUX_DEVICE float operator()(int n, int c) const { return static_cast<float>(maps[n * step_stride + c]); }
};

template <class T>
struct Operands {
  const T *x, *curves;
  int64_t pixels, pixel_stride, step_stride;  // step_stride 0: one map for all steps
  int iterations;
};

template <class T, bool kEight>
struct Curve {
  Operands<T> in;
  T* y;

  LUX_DEVICE void operator()() const {
    const int64_t pixel = global_index();
    if (pixel >= in.pixels) return;
    const Maps<T, kEight> maps(in.curves + pixel * in.pixel_stride, in.step_stride);
    float s[3];
    for (int c = 0; c < 3; ++c) s[c] = static_cast<float>(in.x[3 * pixel + c]);
    LUX_UNROLL
    for (int n = 0; n < maps.kSteps; ++n) {
      if (!kEight && n >= in.iterations) break;
      LUX_UNROLL
      for (int c = 0; c < 3; ++c) s[c] += maps(n, c) * (s[c] * s[c] - s[c]);
    }
    for (int c = 0; c < 3; ++c) y[3 * pixel + c] = T(s[c]);
  }
};

// With s the state before step n: dA_n = g·(s² - s), then g <- g·(1 + A_n·(2s - 1)).
template <class T, bool kEight>
struct CurveGradient {
  Operands<T> in;
  const T* gy;
  T *gx, *gcurves;  // null where not wanted

  LUX_DEVICE void operator()() const {
    const int64_t pixel = global_index();
    if (pixel >= in.pixels) return;
    Maps<T, kEight> maps(in.curves + pixel * in.pixel_stride, in.step_stride);
    LUX_UNROLL
    for (int c = 0; c < 3; ++c) {
      const float g = channel(maps, pixel, c);
      if (gx != nullptr) gx[3 * pixel + c] = T(g);
    }
    if constexpr (kEight) {
      if (gcurves != nullptr) put(maps, gcurves + pixel * in.pixel_stride);
    }
  }

  // Returns the gradient of x. That of the maps goes where the maps were, or to memory.
  LUX_DEVICE float channel(Maps<T, kEight>& maps, int64_t pixel, int c) const {
    float states[Maps<T, kEight>::kSteps];
    float s = static_cast<float>(in.x[3 * pixel + c]);
    LUX_UNROLL
    for (int n = 0; n < maps.kSteps; ++n) {
      if (!kEight && n >= in.iterations) break;
      states[n] = s;
      s += maps(n, c) * (s * s - s);
    }
    float g = static_cast<float>(gy[3 * pixel + c]), all = 0;
    LUX_UNROLL
    for (int n = maps.kSteps - 1; n >= 0; --n) {
      if (!kEight && n >= in.iterations) continue;
      s = states[n];
      const float step = g * (s * s - s);
      g *= 1 + maps(n, c) * (2 * s - 1);
      all += step;
      if constexpr (kEight) {
        maps.values[3 * n + c] = step;
      } else if (gcurves != nullptr && in.step_stride != 0) {
        gcurves[pixel * in.pixel_stride + n * in.step_stride + c] = T(step);
      }
    }
    if (!kEight && gcurves != nullptr && in.step_stride == 0) gcurves[pixel * in.pixel_stride + c] = T(all);
    return g;
  }

  LUX_DEVICE void put(const Maps<T, true>& maps, T* to) const {
    LUX_UNROLL
    for (int i = 0; i < 3 * maps.kSteps; i += kWide<T>) {
      Lanes<kWide<T>> lanes;
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l) lanes[l] = maps.values[i + l];
      store(to + i, lanes);
    }
  }
};

template <class T>
Operands<T> operands_of(const Tensor& x, const Tensor& curves, int iterations) {
  const int64_t stride = curves.size(3);
  return {x.data<T>(), curves.data<T>(), x.numel() / 3, stride, stride == 3 ? 0 : 3, iterations};
}

bool eight(const Tensor& curves, int iterations) { return iterations == 8 && curves.size(3) == 24; }

bool curve(const Tensor& x, const Tensor& curves, const int& iterations, const Tensor& y) {
  if (x.numel() == 0) return false;
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const Operands<T> in = operands_of<T>(x, curves, iterations);
    must_move("curve", {x, curves, y});
    if (eight(curves, iterations))
      launch(blocks_for(in.pixels), Curve<T, true>{in, y.data<T>()});
    else
      launch(blocks_for(in.pixels), Curve<T, false>{in, y.data<T>()});
  });
}

bool curve_gradient(const Tensor& x, const Tensor& curves, const Tensor& gy, const int& iterations,
                    const Tensor& gx, const Tensor& gcurves) {
  if (x.numel() == 0) return false;
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const Operands<T> in = operands_of<T>(x, curves, iterations);
    must_move("curve_gradient", {x, curves, gy, gx, gcurves});
    if (eight(curves, iterations))
      launch(blocks_for(in.pixels),
             CurveGradient<T, true>{in, gy.data<T>(), data_or_null<T>(gx), data_or_null<T>(gcurves)});
    else
      launch(blocks_for(in.pixels),
             CurveGradient<T, false>{in, gy.data<T>(), data_or_null<T>(gx), data_or_null<T>(gcurves)});
  });
}

}  // namespace

void fill_curve(Slots& slots, Device::Type device) {
  slots.curve.set(device, curve);
  slots.curve_gradient.set(device, curve_gradient);
}

}  // namespace lux::cuda
