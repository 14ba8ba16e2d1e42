// One thread per pixel, its states and maps in registers. The backward runs the steps again instead of
// reading states. With eight steps the maps, and else a picture at a time, travel by 16 bytes; maps of other
// numbers of steps, which no published network has, go value by value.
#include "luxgrad/kernels/cuda/curve.cuh"
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/pixels.cuh"

namespace lux::cuda {
namespace {

template <class T, class Maps>
struct Curve {
  CurveOperands<T> in;
  T* y;

  LUX_DEVICE void operator()() const {
    const T* const pictures[] = {in.x, in.curves};
    float colors[1 + Maps::kPictures][3] = {};
    read_pixels(pictures, in.pixels, colors);
    float result[1][3] = {{colors[0][0], colors[0][1], colors[0][2]}};
    if (global_index() < in.pixels)
      apply_curve(Maps(in, global_index(), colors[Maps::kPictures]), in.iterations, result[0]);
    write_pixels(&y, in.pixels, result);
  }
};

template <class T, class Maps>
struct CurveGradient {
  CurveOperands<T> in;
  const T* gy;
  T *gx, *gcurves;  // null where not wanted

  LUX_DEVICE void operator()() const {
    const T* const pictures[] = {in.x, gy, in.curves};
    float colors[2 + Maps::kPictures][3] = {}, gradients[1 + Maps::kPictures][3] = {};
    read_pixels(pictures, in.pixels, colors);
    if (global_index() < in.pixels) {
      Maps maps(in, global_index(), colors[1 + Maps::kPictures]);
      LUX_UNROLL
      for (int c = 0; c < 3; ++c)
        gradients[0][c] = channel_gradient(maps, in.iterations, c, colors[0][c], colors[1][c], gcurves);
      maps.write(gcurves, global_index(), gradients[Maps::kPictures]);
    }
    T* const results[] = {gx, gcurves};
    write_pixels(results, in.pixels, gradients);
  }
};

// f(operands, maps) with the kind of maps in the type of `maps`.
template <class T, class F>
void with_maps(const Tensor& x, const Tensor& curves, int iterations, const F& f) {
  const CurveOperands<T> in{x.data<T>(), curves.data<T>(), x.numel() / 3, curves.size(3), iterations};
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
    with_maps<T>(x, curves, iterations, [&](const CurveOperands<T>& in, auto maps) {
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
    with_maps<T>(x, curves, iterations, [&](const CurveOperands<T>& in, auto maps) {
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
