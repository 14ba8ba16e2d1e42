// The curve of a pixel with all its steps in registers: what the curve's own kernels and those of the losses
// of curves share.
#pragma once

#include "luxgrad/kernels/cuda/launch.cuh"
#include "luxgrad/tensor/tensor.h"

namespace lux::cuda {

template <class T>
struct CurveOperands {
  const T *x, *curves;
  int64_t pixels, maps;  // maps: values of a pixel
  int iterations;
};

// The maps of a pixel. `put` takes the gradient of a map that nobody reads any more.

/// A map for each of eight steps, all of them in registers.
template <class T>
struct EightMaps {
  static constexpr int kMostSteps = 8, kPictures = 0, kValues = 3 * kMostSteps;
  float values[kValues];

  LUX_DEVICE EightMaps(const CurveOperands<T>& in, int64_t pixel, const float*) {
    const T* const from = in.curves + pixel * kValues;
    LUX_UNROLL
    for (int i = 0; i < kValues; i += kWide<T>) {
      const Lanes<kWide<T>> lanes = load<kWide<T>>(from + i);
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l) values[i + l] = lanes[l];
    }
  }
  LUX_DEVICE float operator()(int n, int c) const { return values[3 * n + c]; }
  LUX_DEVICE void put(int n, int c, float g, T*) { values[3 * n + c] = g; }
  LUX_DEVICE float gradient(int i) const { return values[i]; }
  LUX_DEVICE void write(T* gcurves, int64_t pixel, float*) const {
    if (gcurves == nullptr) return;
    LUX_UNROLL
    for (int i = 0; i < kValues; i += kWide<T>) {
      Lanes<kWide<T>> lanes;
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l) lanes[l] = values[i + l];
      store(gcurves + pixel * kValues + i, lanes);
    }
  }
};

/// One map for all steps: a picture as x is.
template <class T>
struct OneMap {
  static constexpr int kMostSteps = 16, kPictures = 1, kValues = 3;
  float values[3], gradients[3] = {};

  LUX_DEVICE OneMap(const CurveOperands<T>&, int64_t, const float* own) : values{own[0], own[1], own[2]} {}
  LUX_DEVICE float operator()(int, int c) const { return values[c]; }
  LUX_DEVICE void put(int, int c, float g, T*) { gradients[c] += g; }
  LUX_DEVICE float gradient(int i) const { return gradients[i]; }
  LUX_DEVICE void write(T*, int64_t, float* own) const {
    for (int c = 0; c < 3; ++c) own[c] = gradients[c];
  }
};

/// A map for each step, of any number.
template <class T>
struct AnyMaps {
  static constexpr int kMostSteps = 16, kPictures = 0;
  const T* values;
  int64_t first;

  LUX_DEVICE AnyMaps(const CurveOperands<T>& in, int64_t pixel, const float*)
      : values(in.curves), first(pixel * in.maps) {}
  LUX_DEVICE float operator()(int n, int c) const { return static_cast<float>(values[first + 3 * n + c]); }
  LUX_DEVICE void put(int n, int c, float g, T* gcurves) const {
    if (gcurves != nullptr) gcurves[first + 3 * n + c] = T(g);
  }
  LUX_DEVICE void write(T*, int64_t, float*) const {}
};

/// Whether step n is none of them; with eight steps the compiler knows.
template <class Maps>
LUX_DEVICE bool is_past(int n, int iterations) {
  return Maps::kMostSteps != 8 && n >= iterations;
}

/// s <- the curve of a colour s.
template <class Maps>
LUX_DEVICE void apply_curve(const Maps& maps, int iterations, float (&s)[3]) {
  LUX_UNROLL
  for (int n = 0; n < Maps::kMostSteps; ++n) {
    if (is_past<Maps>(n, iterations)) break;
    LUX_UNROLL
    for (int c = 0; c < 3; ++c) s[c] += maps(n, c) * (s[c] * s[c] - s[c]);
  }
}

/// The gradient of channel c, which was s, where that of its result is g; `maps` is given those of its maps.
/// With s the state before step n: dA_n = g·(s² - s), then g <- g·(1 + A_n·(2s - 1)).
template <class T, class Maps>
LUX_DEVICE float channel_gradient(Maps& maps, int iterations, int c, float s, float g, T* gcurves) {
  float states[Maps::kMostSteps];
  LUX_UNROLL
  for (int n = 0; n < Maps::kMostSteps; ++n) {
    if (is_past<Maps>(n, iterations)) break;
    states[n] = s;
    s += maps(n, c) * (s * s - s);
  }
  LUX_UNROLL
  for (int n = Maps::kMostSteps - 1; n >= 0; --n) {
    if (is_past<Maps>(n, iterations)) continue;
    s = states[n];
    const float step = g * (s * s - s);
    g *= 1 + maps(n, c) * (2 * s - 1);
    maps.put(n, c, step, gcurves);
  }
  return g;
}

}  // namespace lux::cuda
