#include "luxgrad/kernels/hsv.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/hsv_forms.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
LUX_HD HsvOrder<Arith<T>> order_of(const T* pixel) {
  using A = Arith<T>;
  return {A(pixel[0]), A(pixel[1]), A(pixel[2])};
}

template <class T>
struct Forward {
  const T* x;
  T* y;
  LUX_HD void operator()(int64_t i) const {
    const auto order = order_of(x + 3 * i);
    y[3 * i] = T(order.hue());
    y[3 * i + 1] = T(order.saturation());
    y[3 * i + 2] = T(order.value());
  }
};

template <class T>
struct Backward {
  const T *x, *gy;
  T* gx;
  LUX_HD void operator()(int64_t i) const {
    using A = Arith<T>;
    const auto order = order_of(x + 3 * i);
    const A hue = A(gy[3 * i]), saturation = A(gy[3 * i + 1]), value = A(gy[3 * i + 2]);
    for (int c = 0; c < 3; ++c) gx[3 * i + c] = T(order.gradient(c, hue, saturation, value));
  }
};

}  // namespace

Tensor rgb_to_hsv(const Tensor& x) {
  const OperatorScope scope("rgb_to_hsv", x);
  check(x.shape().rank() == 4 && x.size(3) == 3, "rgb_to_hsv: expected [N, H, W, 3], got ", x.shape());
  Tensor y = empty(x.shape(), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), x.numel() / 3, Forward<T>{x.data<T>(), y.data<T>()});
  });

  return differentiable("rgb_to_hsv", y, {x}, [xs = Saved(x)](const Tensor& gy) {
    Tensor gx = empty(gy.shape(), gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(gy.device(), gy.numel() / 3, Backward<T>{xs.get().data<T>(), gy.data<T>(), gx.data<T>()});
    });
    return Grads{gx};
  });
}

}  // namespace lux
