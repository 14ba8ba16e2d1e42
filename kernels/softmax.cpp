// One team per row; gx = y·(gy - Σ gy·y).
#include "luxgrad/kernels/softmax.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/math.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// Vectors of n elements that stand `stride` apart.
struct Vectors {
  int64_t n, stride;
  LUX_HD int64_t begin(int64_t row) const { return row / stride * stride * n + row % stride; }
};

template <class T>
struct Forward {
  const T* x;
  T* y;
  Vectors rows;
  LUX_HD void operator()(const Team& team, int64_t row) const {
    using A = Arith<T>;
    const T* const from = x + rows.begin(row);
    T* const to = y + rows.begin(row);
    const int64_t step = rows.stride;
    const A largest = team.max(rows.n, [&](int64_t i) { return A(from[i * step]); });
    const auto power = [&](int64_t i) { return math::exp(A(from[i * step]) - largest); };
    const auto total = static_cast<A>(team.sum(rows.n, power));
    team.each(rows.n, [&](int64_t i) { to[i * step] = T(power(i) / total); });
  }
};

template <class T>
struct Backward {
  const T *y, *gy;
  T* gx;
  Vectors rows;
  LUX_HD void operator()(const Team& team, int64_t row) const {
    using A = Arith<T>;
    const int64_t begin = rows.begin(row), step = rows.stride;
    const auto mean = static_cast<A>(
        team.sum(rows.n, [&](int64_t i) { return A(y[begin + i * step]) * A(gy[begin + i * step]); }));
    team.each(rows.n, [&](int64_t i) {
      const int64_t at = begin + i * step;
      gx[at] = T(A(y[at]) * (A(gy[at]) - mean));
    });
  }
};

}  // namespace

Tensor softmax(const Tensor& x, int dim) {
  const OperatorScope scope("softmax", x);
  const int rank = x.shape().rank(), d = dim < 0 ? dim + rank : dim;
  check(d >= 0 && d < rank && x.size(d) > 0, "softmax: expected a dimension of ", x.shape(),
        " with elements, got ", dim);
  Vectors rows{x.size(d), 1};
  for (int inner = d + 1; inner < rank; ++inner) rows.stride *= x.size(inner);
  Tensor y = empty(x.shape(), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_rows(x.device(), x.numel() / rows.n, rows.n, Forward<T>{x.data<T>(), y.data<T>(), rows});
  });
  if (rank < 4 || d == 3 || x.size(2) == 1)  // not along rows or columns of a picture
    describe_pointwise(y, {x}, [d](const Tensors& in) { return softmax(in[0], d); });

  return differentiable("softmax", y, {x}, [rows, ys = Saved(y)](const Tensor& gy) {
    Tensor gx = empty(gy.shape(), gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(gy.device(), gy.numel() / rows.n, rows.n,
                    Backward<T>{ys.get().data<T>(), gy.data<T>(), gx.data<T>(), rows});
    });
    return Grads{gx};
  });
}

}  // namespace lux
