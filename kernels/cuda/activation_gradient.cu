// What stands between the gradient of a layer and that of its convolution: gz = gy · slope(y), and, on the
// way, the gradient of the bias, Σ gz over all pixels.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/sums.cuh"
#include "luxgrad/kernels/epilogue.h"

namespace lux::cuda {
namespace {

template <class T, int L, Activation activation>
struct ActivationGradient {
  Slabs s;
  const T *gy, *y;  // y and gz null without an activation
  T* gz;
  float slope;
  float* partial;  // null: no gradient of the bias

  LUX_DEVICE void operator()() const {
    const Place at = Place::of(s, L);
    Lanes<L> sums[1];
    each_pixel<L>(s, at, [&](int64_t pixel, int64_t c, bool inside) {
      if (!inside) return;
      const int64_t i = pixel * s.C + c;
      Lanes<L> g = load<L>(gy + i);
      if constexpr (activation != Activation::none) {
        const Lanes<L> of = load<L>(y + i);
        for (int l = 0; l < L; ++l)
          g[l] = static_cast<float>(T(g[l] * activation_slope(activation, slope, of[l])));
        store(gz + i, g);
      }
      for (int l = 0; l < L; ++l) sums[0][l] += g[l];
    });
    if (partial != nullptr) put_partial<L, 1>(s, at, sums, partial);
  }
};

template <class T>
struct StoreBiasGradient {
  T* gb;
  LUX_DEVICE void operator()(int64_t, int64_t c, float sum) const { gb[c] = T(sum); }
};

bool activation_gradient(const Tensor& gy, const Tensor& y, const Activation& activation, const double& slope,
                         const Tensor& gz, const Tensor& gb) {
  if (gy.numel() == 0) return false;
  return dispatch_tuned(gy.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("activation_gradient", {gy, y, gz, gb});
    with_lanes<T>(gy.size(3), [&](auto lanes) {
      const Slabs s = Slabs::of(1, gy.numel() / gy.size(3), gy.size(3), lanes);
      const Tensor partial = gb.defined() ? s.partial(1, gy.device()) : Tensor();
      with_constant(activation, [&](auto constant) {
        launch(s.blocks(), ActivationGradient<T, lanes, constant>{
                               s, gy.data<T>(), data_or_null<T>(y), data_or_null<T>(gz),
                               static_cast<float>(slope), data_or_null<float>(partial)});
      });
      if (gb.defined()) finish_sums(partial, s, 1, StoreBiasGradient<T>{gb.data<T>()});
    });
  });
}

}  // namespace

void fill_activation_gradient(Slots& slots, Device::Type device) {
  slots.activation_gradient.set(device, activation_gradient);
}

}  // namespace lux::cuda
