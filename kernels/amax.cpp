#include "luxgrad/kernels/amax.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/largest.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct Forward {
  const T* x;
  T* y;
  int64_t C;
  LUX_HD void operator()(int64_t row) const { y[row] = T(largest_of(x + row * C, C)); }
};

template <class T>
struct Backward {
  const T *x, *y, *gy;
  T* gx;
  int64_t C;
  LUX_HD void operator()(int64_t row) const {
    const T* const from = x + row * C;
    int64_t equal = 0;
    for (int64_t c = 0; c < C; ++c) equal += Arith<T>(from[c]) == Arith<T>(y[row]);
    for (int64_t c = 0; c < C; ++c) {
      const bool largest = Arith<T>(from[c]) == Arith<T>(y[row]);
      gx[row * C + c] = T(largest ? Arith<T>(gy[row]) / static_cast<Arith<T>>(equal) : Arith<T>(0));
    }
  }
};

}  // namespace

Tensor amax(const Tensor& x) {
  const OperatorScope scope("amax", x);
  const int last = x.shape().rank() - 1;
  check(last >= 0 && x.size(last) > 0, "amax: expected elements along the last dimension, got ", x.shape());
  const int64_t C = x.size(last);
  Tensor y = empty(x.shape().with(last, 1), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), y.numel(), Forward<T>{x.data<T>(), y.data<T>(), C}, 1024);
  });
  describe_pointwise(y, {x}, [](const Tensors& in) { return amax(in[0]); });

  return differentiable("amax", y, {x}, [C, xs = Saved(x), ys = Saved(y)](const Tensor& gy) {
    Tensor gx = empty(xs.get().shape(), gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(gy.device(), gy.numel(),
                   Backward<T>{xs.get().data<T>(), ys.get().data<T>(), gy.data<T>(), gx.data<T>(), C}, 1024);
    });
    return Grads{gx};
  });
}

}  // namespace lux
