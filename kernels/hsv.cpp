// With M the largest channel, m the smallest, R = M - m: S = 1 - m / M, and H is a quotient of a difference
// of two channels and R. Its derivatives follow from dR = dM - dm.
#include "luxgrad/kernels/hsv.h"

#include <algorithm>

#include "luxgrad/autograd/node.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// Which channels decide: first come first served.
template <class A>
struct Order {
  A rgb[3];
  int largest = 0, smallest = 0;

  template <class T>
  LUX_HD explicit Order(const T* pixel) : rgb{A(pixel[0]), A(pixel[1]), A(pixel[2])} {
    for (int c = 1; c < 3; ++c) {
      if (rgb[c] > rgb[largest]) largest = c;
      if (rgb[c] < rgb[smallest]) smallest = c;
    }
  }
  LUX_HD A range() const { return rgb[largest] - rgb[smallest]; }
  // Hue is (rgb[left()] - rgb[right()]) / (6 range) + largest / 3.
  LUX_HD int left() const { return (largest + 1) % 3; }
  LUX_HD int right() const { return (largest + 2) % 3; }
};

template <class T>
struct Forward {
  const T* x;
  T* y;
  LUX_HD void operator()(int64_t i) const {
    using A = Arith<T>;
    const Order<A> o(x + 3 * i);
    const A range = o.range(), value = o.rgb[o.largest];
    A hue = 0;
    if (range > A(0)) {
      hue = (o.rgb[o.left()] - o.rgb[o.right()]) / (A(6) * range) + A(o.largest) / A(3);
      if (hue < A(0)) hue += A(1);
    }
    y[3 * i] = T(hue);
    y[3 * i + 1] = T(value == A(0) ? A(0) : range / value);
    y[3 * i + 2] = T(value);
  }
};

template <class T>
struct Backward {
  const T *x, *gy;
  T* gx;
  LUX_HD void operator()(int64_t i) const {
    using A = Arith<T>;
    const Order<A> o(x + 3 * i);
    // Colours that are nearly gray or black have slopes that overflow; below this they stay as they are here.
    constexpr A kLeast = A(1e-8);
    const A range = std::max(o.range(), kLeast), value = std::max(o.rgb[o.largest], kLeast);
    const A hue = A(gy[3 * i]), saturation = A(gy[3 * i + 1]);
    A g[3] = {0, 0, 0};
    g[o.largest] += A(gy[3 * i + 2]);
    if (o.rgb[o.largest] != A(0)) {
      g[o.largest] += saturation * (o.rgb[o.smallest] / value) / value;
      g[o.smallest] -= saturation / value;
    }
    if (o.range() > A(0)) {
      const A step = hue / (A(6) * range);
      const A along = step * (o.rgb[o.left()] - o.rgb[o.right()]) / range;
      g[o.left()] += step;
      g[o.right()] -= step;
      g[o.largest] -= along;
      g[o.smallest] += along;
    }
    for (int c = 0; c < 3; ++c) gx[3 * i + c] = T(g[c]);
  }
};

}  // namespace

Tensor rgb_to_hsv(const Tensor& x) {
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
