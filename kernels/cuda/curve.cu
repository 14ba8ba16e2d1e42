// One thread per pixel, its states and maps in registers. The backward runs the steps again instead of
// reading states. With eight steps the maps, and else a picture at a time, travel by 16 bytes; maps of other
// numbers of steps, which no published network has, go value by value.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/pixels.cuh"

namespace lux::cuda {
namespace {

template <class T>
struct Operands {
  const T *x, *curves;
  int64_t pixels, maps;  // maps: values of a pixel
  int iterations;
};

// The maps of this thread's pixel. `put` takes the gradient of a map that nobody reads any more.

// A map for each of eight steps, all of them in registers.
template <class T>
struct EightMaps {
  static constexpr int kMostSteps = 8, kPictures = 0, kValues = 3 * kMostSteps;
  float values[kValues];

  LUX_DEVICE EightMaps(const Operands<T>& in, const float*) {
    const T* const from = in.curves + global_index() * kValues;
    LUX_UNROLL
    for (int i = 0; i < kValues; i += kWide<T>) {
      const Lanes<kWide<T>> lanes = load<kWide<T>>(from + i);
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l) values[i + l] = lanes[l];
    }
  }
  LUX_DEVICE float operator()(int n, int c) const { return values[3 * n + c]; }
  LUX_DEVICE void put(int n, int c, float g, T*) { values[3 * n + c] = g; }
  LUX_DEVICE void write(T* gradient, float*) const {
    if (gradient == nullptr) return;
    LUX_UNROLL
    for (int i = 0; i < kValues; i += kWide<T>) {
      Lanes<kWide<T>> lanes;
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l) lanes[l] = values[i + l];
      store(gradient + global_index() * kValues + i, lanes);
    }
  }
};

// One map for all steps: a picture as x is.
template <class T>
struct OneMap {
  static constexpr int kMostSteps = 16, kPictures = 1;
  float values[3], gradients[3] = {};

  LUX_DEVICE OneMap(const Operands<T>&, const float* own) : values{own[0], own[1], own[2]} {}
  LUX_DEVICE float operator()(int, int c) const { return values[c]; }
  LUX_DEVICE void put(int, int c, float g, T*) { gradients[c] += g; }
  LUX_DEVICE void write(T*, float* own) const {
    for (int c = 0; c < 3; ++c) own[c] = gradients[c];
  }
};

// A map for each step, of any number.
template <class T>
struct AnyMaps {
  static constexpr int kMostSteps = 16, kPictures = 0;
  const T* values;
  int64_t first;

  LUX_DEVICE AnyMaps(const Operands<T>& in, const float*)
      : values(in.curves), first(global_index() * in.maps) {}
  LUX_DEVICE float operator()(int n, int c) const { return static_cast<float>(values[first + 3 * n + c]); }
  LUX_DEVICE void put(int n, int c, float g, T* gradient) const {
    if (gradient != nullptr) gradient[first + 3 * n + c] = T(g);
  }
  LUX_DEVICE void write(T*, float*) const {}
};

// Whether step n is none of them; with eight steps the compiler knows.
template <class Maps>
LUX_DEVICE bool is_past(int n, int iterations) {
  return Maps::kMostSteps != 8 && n >= iterations;
}

template <class T, class Maps>
struct Curve {
  Operands<T> in;
  T* y;

  LUX_DEVICE void operator()() const {
    const T* const pictures[] = {in.x, in.curves};
    float colors[1 + Maps::kPictures][3] = {};
    read_pixels(pictures, in.pixels, colors);
    float(&s)[3] = colors[0];
    if (global_index() < in.pixels) {
      const Maps maps(in, colors[Maps::kPictures]);
      LUX_UNROLL
      for (int n = 0; n < Maps::kMostSteps; ++n) {
        if (is_past<Maps>(n, in.iterations)) break;
        LUX_UNROLL
        for (int c = 0; c < 3; ++c) s[c] += maps(n, c) * (s[c] * s[c] - s[c]);
      }
    }
    const float result[1][3] = {{s[0], s[1], s[2]}};
    write_pixels(&y, in.pixels, result);
  }
};

// With s the state before step n: dA_n = g·(s² - s), then g <- g·(1 + A_n·(2s - 1)).
template <class T, class Maps>
struct CurveGradient {
  Operands<T> in;
  const T* gy;
  T *gx, *gcurves;  // null where not wanted

  LUX_DEVICE void operator()() const {
    const T* const pictures[] = {in.x, gy, in.curves};
    float colors[2 + Maps::kPictures][3] = {}, gradients[1 + Maps::kPictures][3] = {};
    read_pixels(pictures, in.pixels, colors);
    if (global_index() < in.pixels) {
      Maps maps(in, colors[1 + Maps::kPictures]);
      LUX_UNROLL
      for (int c = 0; c < 3; ++c) gradients[0][c] = channel(maps, c, colors[0][c], colors[1][c]);
      maps.write(gcurves, gradients[Maps::kPictures]);
    }
    T* const results[] = {gx, gcurves};
    write_pixels(results, in.pixels, gradients);
  }

  // Returns the gradient of x, and puts those of the maps.
  LUX_DEVICE float channel(Maps& maps, int c, float s, float g) const {
    float states[Maps::kMostSteps];
    LUX_UNROLL
    for (int n = 0; n < Maps::kMostSteps; ++n) {
      if (is_past<Maps>(n, in.iterations)) break;
      states[n] = s;
      s += maps(n, c) * (s * s - s);
    }
    LUX_UNROLL
    for (int n = Maps::kMostSteps - 1; n >= 0; --n) {
      if (is_past<Maps>(n, in.iterations)) continue;
      s = states[n];
      const float step = g * (s * s - s);
      g *= 1 + maps(n, c) * (2 * s - 1);
      maps.put(n, c, step, gcurves);
    }
    return g;
  }
};

// f(operands, maps) with the kind of maps in the type of `maps`.
template <class T, class F>
void with_maps(const Tensor& x, const Tensor& curves, int iterations, const F& f) {
  const Operands<T> in{x.data<T>(), curves.data<T>(), x.numel() / 3, curves.size(3), iterations};
  if (in.maps == 3)
    f(in, std::type_identity<OneMap<T>>{});
  else if (iterations == 8)
    f(in, std::type_identity<EightMaps<T>>{});
  else
    f(in, std::type_identity<AnyMaps<T>>{});
}

bool curve(const Tensor& x, const Tensor& curves, const int& iterations, const Tensor& y) {
  if (x.numel() == 0) return false;
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("curve", {x, curves, y});
    with_maps<T>(x, curves, iterations, [&](const Operands<T>& in, auto maps) {
      launch(blocks_for(in.pixels), Curve<T, typename decltype(maps)::type>{in, y.data<T>()});
    });
  });
}

bool curve_gradient(const Tensor& x, const Tensor& curves, const Tensor& gy, const int& iterations,
                    const Tensor& gx, const Tensor& gcurves) {
  if (x.numel() == 0) return false;
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("curve_gradient", {x, curves, gy, gx, gcurves});
    with_maps<T>(x, curves, iterations, [&](const Operands<T>& in, auto maps) {
      launch(blocks_for(in.pixels), CurveGradient<T, typename decltype(maps)::type>{
                                        in, gy.data<T>(), data_or_null<T>(gx), data_or_null<T>(gcurves)});
    });
  });
}

}  // namespace

void fill_curve(Slots& slots, Device::Type device) {
  slots.curve.set(device, curve);
  slots.curve_gradient.set(device, curve_gradient);
}

}  // namespace lux::cuda
