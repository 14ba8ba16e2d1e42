// The slope's gradient is the sum of gy·x over all negative x.
#include "luxgrad/kernels/prelu.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct Forward {
  const T *x, *weight;
  T* y;
  LUX_HD void operator()(int64_t i) const {
    const Arith<T> value = x[i];
    y[i] = value < Arith<T>(0) ? T(value * Arith<T>(*weight)) : x[i];
  }
};

template <class T>
struct InputGradient {
  const T *x, *weight, *gy;
  T* gx;
  LUX_HD void operator()(int64_t i) const {
    gx[i] = Arith<T>(x[i]) > Arith<T>(0) ? gy[i] : T(Arith<T>(gy[i]) * Arith<T>(*weight));
  }
};

template <class T>
struct WeightGradient {
  const T *x, *gy;
  T* gw;
  LUX_HD Arith<T> term(int64_t, int64_t i) const {
    return Arith<T>(x[i]) < Arith<T>(0) ? Arith<T>(x[i]) * Arith<T>(gy[i]) : Arith<T>(0);
  }
  LUX_HD void finish(int64_t, double sum) const { *gw = T(static_cast<Arith<T>>(sum)); }
};

}  // namespace

Tensor prelu(const Tensor& x, const Tensor& weight) {
  check(weight.shape() == Shape{1} && weight.dtype() == x.dtype(), "prelu: expected a weight [1] of dtype ",
        x.dtype(), ", got ", weight.shape(), " of ", weight.dtype());
  Tensor y = empty(x.shape(), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), x.numel(), Forward<T>{x.data<T>(), weight.data<T>(), y.data<T>()});
  });
  describe_pointwise(y, {x}, [w = weight.detach()](const Tensors& in) { return prelu(in[0], w); });

  return differentiable(
      "prelu", y, {x, weight}, [xs = Saved(x), ws = Saved(weight)](const Tensor& gy, const Need& need) {
        Grads grads(2);
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          const T* const from = xs.get().data<T>();
          if (need(0)) {
            grads[0] = empty(gy.shape(), gy.options());
            parallel_for(gy.device(), gy.numel(),
                         InputGradient<T>{from, ws.get().data<T>(), gy.data<T>(), grads[0].data<T>()});
          }
          if (need(1)) {
            grads[1] = empty({1}, gy.options());
            parallel_reduce(gy.device(), 1, gy.numel(),
                            WeightGradient<T>{from, gy.data<T>(), grads[1].data<T>()});
          }
        });
        return grads;
      });
}

}  // namespace lux
