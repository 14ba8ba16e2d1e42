// Sum and mean are one operator with a divisor; the gradient repeats gy along what was summed.
#include "luxgrad/kernels/reductions.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/sum_over.h"

namespace lux {
namespace {

template <class T>
struct Element {
  const T* x;
  LUX_HD Arith<T> operator()(int64_t i) const { return x[i]; }
};

template <class T>
struct Repeat {
  const T* gy;
  T* gx;
  Strided from;
  double divisor;
  LUX_HD void operator()(int64_t i) const { gx[i] = T(Arith<T>(gy[from(i)]) / Arith<T>(divisor)); }
};

// Sums x down to `kept`, which has 1 where x is summed, and returns the result under the shape `shape`.
Tensor reduce(const char* name, const Tensor& x, const Shape& kept, const Shape& shape, double divisor) {
  Tensor y = empty(shape, x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    sum_over(x.device(), x.shape(), kept, Element<T>{x.data<T>()}, y.data<T>(), divisor);
  });

  return differentiable(name, y, {x}, [wide = x.shape(), kept, divisor](const Tensor& gy) {
    Tensor gx = empty(wide, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(gy.device(), gx.numel(),
                   Repeat<T>{gy.data<T>(), gx.data<T>(), broadcast_index(kept, wide), divisor});
    });
    return Grads{gx};
  });
}

Tensor reduce_dims(const char* name, const Tensor& x, std::initializer_list<int> dims, bool keepdim,
                   bool average) {
  Shape kept = x.shape();
  bool summed[Shape::kMaxRank] = {};
  double count = 1;
  for (const int dim : dims) {
    const int d = dim < 0 ? dim + x.shape().rank() : dim;
    check(d >= 0 && d < x.shape().rank() && !summed[d], name, ": expected different dimensions of ",
          x.shape(), ", got ", dim);
    summed[d] = true;
    count *= static_cast<double>(x.size(d));
    kept = kept.with(d, 1);
  }
  check(!average || count > 0, name, ": expected at least one element to average, got ", x.shape());
  int64_t sizes[Shape::kMaxRank];
  int rank = 0;
  for (int d = 0; d < x.shape().rank(); ++d) {
    if (keepdim || !summed[d]) sizes[rank++] = kept[d];
  }
  return reduce(name, x, kept, {sizes, sizes + rank}, average ? count : 1);
}

}  // namespace

Tensor sum(const Tensor& x) { return reduce("sum", x, {}, {}, 1); }

Tensor mean(const Tensor& x) {
  check(x.numel() > 0, "mean: expected at least one element to average, got ", x.shape());
  return reduce("mean", x, {}, {}, static_cast<double>(x.numel()));
}

Tensor sum(const Tensor& x, std::initializer_list<int> dims, bool keepdim) {
  return reduce_dims("sum", x, dims, keepdim, false);
}

Tensor mean(const Tensor& x, std::initializer_list<int> dims, bool keepdim) {
  return reduce_dims("mean", x, dims, keepdim, true);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  check(broadcast_shapes("sum_to", x.shape(), shape) == x.shape(),
        "sum_to: expected a shape that broadcasts to ", x.shape(), ", got ", shape);
  return reduce("sum_to", x, shape, shape, 1);
}

}  // namespace lux
