// The slope's gradient is the sum of gy·x over all negative x. Elements are visited in runs, for which the
// slope is read once: for all a compiler knows the result may lie over it, and read anew for each it forbids
// vectors.
#include "luxgrad/kernels/prelu.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

constexpr int64_t kRun = 4096;

template <class T, class F>
struct Runs {
  F f;
  const T* weight;
  int64_t n;
  LUX_HD void operator()(const Team& team, int64_t run) const {
    const int64_t begin = run * kRun, left = n - begin;
    const Arith<T> slope = *weight;
    team.each(left < kRun ? left : kRun, [&f = f, begin, slope](int64_t i) { f(begin + i, slope); });
  }
};

/// f(i, slope) for every element i of n.
template <class T, class F>
void with_slope(Device device, int64_t n, const T* weight, const F& f) {
  parallel_rows(device, (n + kRun - 1) / kRun, kRun, Runs<T, F>{f, weight, n});
}

template <class T>
struct Forward {
  const T* x;
  T* y;
  LUX_HD void operator()(int64_t i, Arith<T> slope) const {
    const Arith<T> value = x[i];
    y[i] = value < Arith<T>(0) ? T(value * slope) : T(value);
  }
};

template <class T>
struct InputGradient {
  const T *x, *gy;
  T* gx;
  LUX_HD void operator()(int64_t i, Arith<T> slope) const {
    const Arith<T> g = gy[i];
    gx[i] = Arith<T>(x[i]) > Arith<T>(0) ? T(g) : T(g * slope);
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
  const OperatorScope scope("prelu", x, weight);
  check(weight.shape() == Shape{1} && weight.dtype() == x.dtype(), "prelu: expected a weight [1] of dtype ",
        x.dtype(), ", got ", weight.shape(), " of ", weight.dtype());
  Tensor y = empty(x.shape(), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    with_slope(x.device(), x.numel(), weight.data<T>(), Forward<T>{x.data<T>(), y.data<T>()});
  });
  describe_pointwise(y, {x}, [w = weight.detach()](const Tensors& in) { return prelu(in[0], w); });

  return differentiable("prelu", y, {x, weight},
                        [xs = SavedMap(x), ws = Saved(weight)](const Tensor& gy, const Need& need) {
                          Grads grads(2);
                          dispatch(gy.dtype(), [&](auto t) {
                            using T = decltype(t);
                            const Tensor wide = xs.get();
                            const T* const from = wide.data<T>();
                            if (need(0)) {
                              grads[0] = empty(gy.shape(), gy.options());
                              with_slope(gy.device(), gy.numel(), ws.get().data<T>(),
                                         InputGradient<T>{from, gy.data<T>(), grads[0].data<T>()});
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
