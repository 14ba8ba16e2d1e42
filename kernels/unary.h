// Elementwise operators of one tensor: a formula and its slope are the whole operator.
//
// A formula is a struct with `value(x)` and one of
//   slope()            a constant: the graph keeps nothing
//   slope_of_output(y) the graph keeps the result, which is often alive anyway
//   slope_of_input(x)  the graph keeps the input
#pragma once

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {

namespace detail {

template <class F>
concept ConstantSlope = requires(const F& f) {
  f.slope();
};
template <class F>
concept SlopeOfOutput = requires(const F& f) {
  f.slope_of_output(1.0f);
};

template <class T, class F>
struct UnaryValue {
  const T* x;
  T* y;
  F f;
  LUX_HD void operator()(int64_t i) const { y[i] = T(f.value(Arith<T>(x[i]))); }
};

template <class T, class F>
struct UnaryGradient {
  const T* kept;  // input or output, null for a constant slope
  const T* gy;
  T* gx;
  F f;

  LUX_HD void operator()(int64_t i) const { gx[i] = T(Arith<T>(gy[i]) * slope(i)); }

  LUX_HD Arith<T> slope(int64_t i) const {
    if constexpr (ConstantSlope<F>)
      return Arith<T>(f.slope());
    else if constexpr (SlopeOfOutput<F>)
      return f.slope_of_output(Arith<T>(kept[i]));
    else
      return f.slope_of_input(Arith<T>(kept[i]));
  }
};

}  // namespace detail

/// y = f.value(x) for every element; operator `name`. Shape and dtype are kept.
template <class F>
Tensor unary(const char* name, const Tensor& x, const F& f) {
  const OperatorScope scope(name, x);
  Tensor y = empty(x.shape(), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), x.numel(), detail::UnaryValue<T, F>{x.data<T>(), y.data<T>(), f});
  });
  describe_pointwise(y, {x}, [name, f](const Tensors& in) { return unary(name, in[0], f); });

  const SavedMap kept(detail::ConstantSlope<F> ? Tensor() : detail::SlopeOfOutput<F> ? y : x);
  return differentiable(name, y, {x}, [f, kept](const Tensor& gy) {
    Tensor gx = empty(gy.shape(), gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      const T* saved = nullptr;
      const Tensor wide = kept.get();
      if constexpr (!detail::ConstantSlope<F>) saved = wide.template data<T>();
      parallel_for(gy.device(), gy.numel(),
                   detail::UnaryGradient<T, F>{saved, gy.data<T>(), gx.data<T>(), f});
    });
    return Grads{gx};
  });
}

}  // namespace lux
