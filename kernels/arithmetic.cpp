// The gradient of an operand that was repeated is the sum over its repetitions, in a fixed order. Operands
// are kept only where the other one wants a gradient.
#include "luxgrad/kernels/arithmetic.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/broadcast.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/unary.h"

namespace lux {
namespace {

struct Add {
  template <class A>
  LUX_HD A operator()(A a, A b) const {
    return a + b;
  }
};
struct Sub {
  template <class A>
  LUX_HD A operator()(A a, A b) const {
    return a - b;
  }
};
struct Mul {
  template <class A>
  LUX_HD A operator()(A a, A b) const {
    return a * b;
  }
};
struct Div {
  template <class A>
  LUX_HD A operator()(A a, A b) const {
    return a / b;
  }
};

struct Same {
  LUX_HD int64_t operator()(int64_t i) const { return i; }
};

template <class T, class F, class Index>
struct Pairwise {
  const T *a, *b;
  T* y;
  F f;
  Index of_a, of_b;
  LUX_HD void operator()(int64_t i) const { y[i] = T(f(Arith<T>(a[of_a(i)]), Arith<T>(b[of_b(i)]))); }
};

// A line along the last dimension, where an operand stands still or moves with the result: a place that is
// computed for every element costs divisions and forbids vectors.
template <class T, class F>
struct PairwiseRows {
  Pairwise<T, F, Strided> all;
  int64_t length;
  bool a_moves, b_moves;

  template <int kA, int kB>
  LUX_HD void run(const Team& team, int64_t begin) const {
    const T* const a = all.a + all.of_a(begin);
    const T* const b = all.b + all.of_b(begin);
    T* const y = all.y + begin;
    team.each(length,
              [&f = all.f, a, b, y](int64_t i) { y[i] = T(f(Arith<T>(a[kA * i]), Arith<T>(b[kB * i]))); });
  }
  LUX_HD void operator()(const Team& team, int64_t row) const {
    const int64_t begin = row * length;
    if (a_moves && b_moves) return run<1, 1>(team, begin);
    if (a_moves) return run<1, 0>(team, begin);
    run<0, 1>(team, begin);
  }
};

template <class F>
Tensor pairwise(const char* name, const Tensor& a, const Tensor& b, const F& f) {
  check(a.dtype() == b.dtype(), name, ": expected equal dtypes, got ", a.dtype(), " and ", b.dtype());
  Tensor y = empty(broadcast_shapes(name, a.shape(), b.shape()), a.options());
  dispatch(a.dtype(), [&](auto t) {
    using T = decltype(t);
    const T *const pa = a.data<T>(), *const pb = b.data<T>();
    if (a.shape() == b.shape()) {
      parallel_for(a.device(), y.numel(), Pairwise<T, F, Same>{pa, pb, y.data<T>(), f, {}, {}});
    } else {
      constexpr int64_t kLine = 8;  // shorter ones are not worth the start of each
      const Pairwise<T, F, Strided> all{pa,
                                        pb,
                                        y.data<T>(),
                                        f,
                                        broadcast_index(a.shape(), y.shape()),
                                        broadcast_index(b.shape(), y.shape())};
      const auto moves = [](const Shape& s) { return s.rank() > 0 && s[-1] > 1; };
      if (const int64_t length = y.shape()[-1]; length >= kLine)
        parallel_rows(a.device(), y.numel() / length, length,
                      PairwiseRows<T, F>{all, length, moves(a.shape()), moves(b.shape())});
      else
        parallel_for(a.device(), y.numel(), all);
    }
  });
  if (a.numel() > b.numel())
    describe_pointwise(y, {b, a}, [name, f](const Tensors& in) { return pairwise(name, in[1], in[0], f); });
  else
    describe_pointwise(y, {a, b}, [name, f](const Tensors& in) { return pairwise(name, in[0], in[1], f); });
  return y;
}

// The tensor if it is needed for a gradient that somebody wants, else nothing.
SavedMap keep(const Tensor& tensor, bool wanted) { return SavedMap(wanted ? tensor : Tensor()); }

// With a number: the formulas of `unary`. Quotients stay divisions, which round once.
struct Affine {  // y = factor·x + offset
  double factor, offset;
  template <class A>
  LUX_HD A value(A x) const {
    return A(factor) * x + A(offset);
  }
  LUX_HD double slope() const { return factor; }
};

struct Scale {
  double factor;
  template <class A>
  LUX_HD A value(A x) const {
    return x * A(factor);
  }
  LUX_HD double slope() const { return factor; }
};

struct DivideBy {
  double divisor;
  template <class A>
  LUX_HD A value(A x) const {
    return x / A(divisor);
  }
  LUX_HD double slope() const { return 1 / divisor; }
};

struct Divide {
  double dividend;
  template <class A>
  LUX_HD A value(A x) const {
    return A(dividend) / x;
  }
  template <class A>
  LUX_HD A slope_of_input(A x) const {
    return -A(dividend) / (x * x);
  }
};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  const OperatorScope scope("add", a, b);
  const Tensor y = pairwise("add", a, b, Add{});
  return differentiable(
      "add", y, {a, b}, [sa = a.shape(), sb = b.shape()](const Tensor& gy, const Need& need) {
        return Grads{need(0) ? sum_to(gy, sa) : Tensor(), need(1) ? sum_to(gy, sb) : Tensor()};
      });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  const OperatorScope scope("sub", a, b);
  const Tensor y = pairwise("sub", a, b, Sub{});
  return differentiable(
      "sub", y, {a, b}, [sa = a.shape(), sb = b.shape()](const Tensor& gy, const Need& need) {
        return Grads{need(0) ? sum_to(gy, sa) : Tensor(), need(1) ? -sum_to(gy, sb) : Tensor()};
      });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  const OperatorScope scope("mul", a, b);
  const Tensor y = pairwise("mul", a, b, Mul{});
  const auto backward = [sa = a.shape(), sb = b.shape(), a = keep(a, b.requires_grad()),
                         b = keep(b, a.requires_grad())](const Tensor& gy, const Need& need) {
    return Grads{need(0) ? sum_to(gy * b.get(), sa) : Tensor(),
                 need(1) ? sum_to(gy * a.get(), sb) : Tensor()};
  };
  return differentiable("mul", y, {a, b}, backward);
}

Tensor div(const Tensor& a, const Tensor& b) {
  const OperatorScope scope("div", a, b);
  const Tensor y = pairwise("div", a, b, Div{});
  const auto backward = [sa = a.shape(), sb = b.shape(), y = keep(y, b.requires_grad()), b = Saved(b)](
                            const Tensor& gy, const Need& need) {
    const Tensor ga = gy / b.get();  // and gb = -gy·a / b² = -ga·y
    return Grads{need(0) ? sum_to(ga, sa) : Tensor(), need(1) ? -sum_to(ga * y.get(), sb) : Tensor()};
  };
  return differentiable("div", y, {a, b}, backward);
}

Tensor add(const Tensor& a, double b) { return unary("add", a, Affine{1, b}); }
Tensor sub(const Tensor& a, double b) { return unary("sub", a, Affine{1, -b}); }
Tensor sub(double a, const Tensor& b) { return unary("sub", b, Affine{-1, a}); }
Tensor mul(const Tensor& a, double b) { return unary("mul", a, Scale{b}); }
Tensor div(const Tensor& a, double b) { return unary("div", a, DivideBy{b}); }
Tensor div(double a, const Tensor& b) { return unary("div", b, Divide{a}); }

}  // namespace lux
