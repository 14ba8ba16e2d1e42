// Around a dimension a tensor is `outer` rows of `size · inner` neighbouring elements; joining and cutting
// copy runs of them. The gradient of either is the other.
#include "luxgrad/kernels/concat.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// Copies `run` elements per row between rows of different lengths.
template <class T>
struct CopyRuns {
  const T* source;
  T* target;
  int64_t run, source_row, target_row;

  LUX_HD void operator()(const Team& team, int64_t row) const {
    const T* const from = source + row * source_row;
    T* const to = target + row * target_row;
    team.each(run, [&](int64_t i) { to[i] = from[i]; });
  }
};

template <class T>
struct CopyInto {  // zeros before and after
  const T* source;
  T* target;
  int64_t run, before, target_row;

  LUX_HD void operator()(const Team& team, int64_t row) const {
    const T* const from = source + row * run;
    T* const to = target + row * target_row;
    team.each(before, [&](int64_t i) { to[i] = T(0.0f); });
    team.each(run, [&](int64_t i) { to[before + i] = from[i]; });
    team.each(target_row - before - run, [&](int64_t i) { to[before + run + i] = T(0.0f); });
  }
};

int checked_dim(const char* op, const Shape& shape, int dim) {
  const int d = dim < 0 ? dim + shape.rank() : dim;
  check(d >= 0 && d < shape.rank(), op, ": expected a dimension of ", shape, ", got ", dim);
  return d;
}

// Elements per step of dimension d.
int64_t inner_of(const Shape& shape, int d) {
  int64_t inner = 1;
  for (int i = d + 1; i < shape.rank(); ++i) inner *= shape[i];
  return inner;
}

int64_t outer_of(const Shape& shape, int d) {
  int64_t outer = 1;
  for (int i = 0; i < d; ++i) outer *= shape[i];
  return outer;
}

// The gradient of narrow: gy in its place among zeros.
Tensor widen(const Tensor& gy, const Shape& shape, int d, int64_t start) {
  Tensor gx = empty(shape, gy.options());
  const int64_t inner = inner_of(shape, d), run = gy.size(d) * inner, row = shape[d] * inner;
  if (slots().widen_runs(gy.device(), gy, run, start * inner, row, gx)) return gx;
  dispatch(gy.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_rows(gy.device(), outer_of(shape, d), row,
                  CopyInto<T>{gy.data<T>(), gx.data<T>(), run, start * inner, row});
  });
  return gx;
}

}  // namespace

Tensor concat(const Tensors& tensors, int dim) {
  const OperatorScope scope("concat", tensors);
  check(!tensors.empty(), "concat: expected at least one tensor");
  const Tensor& first = tensors.front();
  const int d = checked_dim("concat", first.shape(), dim);
  std::vector<int64_t> sizes;
  int64_t total = 0;
  for (const Tensor& x : tensors) {
    check(x.dtype() == first.dtype() && x.shape().rank() == first.shape().rank() &&
              x.shape().with(d, first.size(d)) == first.shape(),
          "concat: expected tensors like ", first.dtype(), " ", first.shape(), " except in dimension ", d,
          ", got ", x.dtype(), " ", x.shape());
    sizes.push_back(x.size(d));
    total += x.size(d);
  }

  Tensor y = empty(first.shape().with(d, total), first.options());
  const int64_t inner = inner_of(y.shape(), d), outer = outer_of(y.shape(), d), row = total * inner;
  int64_t offset = 0;
  for (const Tensor& x : tensors) {
    const int64_t run = x.size(d) * inner;
    if (!slots().copy_runs(y.device(), {x, 0, run}, {y, offset, row}, outer, run)) {
      dispatch(y.dtype(), [&](auto t) {
        using T = decltype(t);
        parallel_rows(y.device(), outer, run, CopyRuns<T>{x.data<T>(), y.data<T>() + offset, run, run, row});
      });
    }
    offset += run;
  }
  if (d == 3 || first.shape().rank() < 4 || first.size(2) == 1)
    describe_pointwise(y, tensors, [d](const Tensors& in) { return concat(in, d); });

  return differentiable("concat", y, tensors, [sizes, d](const Tensor& gy, const Need& need) {
    Grads grads(sizes.size());
    int64_t start = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (need(i)) grads[i] = narrow(gy, d, start, sizes[i]);
      start += sizes[i];
    }
    return grads;
  });
}

Tensor narrow(const Tensor& x, int dim, int64_t start, int64_t length) {
  const OperatorScope scope("narrow", x);
  const Shape s = x.shape();
  const int d = checked_dim("narrow", s, dim);
  check(start >= 0 && length >= 0 && length <= s[d] && start <= s[d] - length,
        "narrow: expected elements of 0 … ", s[d] - 1, " in dimension ", d, " of ", s, ", got ", start, " … ",
        start + length - 1);
  Tensor y = empty(s.with(d, length), x.options());
  const int64_t inner = inner_of(s, d), run = length * inner;
  if (!slots().copy_runs(x.device(), {x, start * inner, s[d] * inner}, {y, 0, run}, outer_of(s, d), run)) {
    dispatch(x.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(x.device(), outer_of(s, d), run,
                    CopyRuns<T>{x.data<T>() + start * inner, y.data<T>(), run, s[d] * inner, run});
    });
  }
  if (d == 3 || s.rank() < 4 || s[2] == 1)
    describe_pointwise(y, {x}, [=](const Tensors& in) { return narrow(in[0], d, start, length); });
  return differentiable("narrow", y, {x},
                        [s, d, start](const Tensor& gy) { return Grads{widen(gy, s, d, start)}; });
}

Tensors split(const Tensor& x, const std::vector<int64_t>& sizes, int dim) {
  const int d = checked_dim("split", x.shape(), dim);
  int64_t total = 0;
  for (const int64_t size : sizes) total += size;
  check(total == x.size(d), "split: expected sizes that add up to ", x.size(d), ", got ", total);
  Tensors pieces;
  int64_t start = 0;
  for (const int64_t size : sizes) {
    pieces.push_back(narrow(x, d, start, size));
    start += size;
  }
  return pieces;
}

}  // namespace lux
