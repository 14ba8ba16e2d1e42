#include "luxgrad/kernels/cuda/columns.h"

#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux::cuda {
namespace {

/// to[r, to_first + c] = from[r, from_first + c], or zero beyond `from`.
template <class T>
struct CopyColumns {
  const T* from;
  T* to;
  int64_t from_rows, from_width, from_first;
  int64_t to_width, to_first, columns;

  LUX_HD void operator()(int64_t i) const {
    const int64_t row = i / columns, c = i % columns;
    const bool inside = row < from_rows && from_first + c < from_width;
    to[row * to_width + to_first + c] = inside ? from[row * from_width + from_first + c] : T(0);
  }
};

template <class T>
struct FinishSums {
  const T* sums;
  const T* bias;  // or null
  T* y;
  int64_t width, K;
  Activation activation;
  double slope;

  LUX_HD void operator()(int64_t i) const {
    using A = Arith<T>;
    const int64_t row = i / K, k = i % K;
    const A sum = A(sums[row * width + k]) + (bias == nullptr ? A(0) : A(bias[k]));
    y[i] = static_cast<T>(activate(activation, static_cast<A>(slope), sum));
  }
};

}  // namespace

bool is_aligned(const Tensor& tensor) { return reinterpret_cast<uintptr_t>(tensor.raw()) % 16 == 0; }

void copy_columns(const Columns& from, const Columns& to, int64_t columns) {
  const int64_t rows = to.tensor.numel() / to.width;
  const bool all_there = rows * from.width == from.tensor.numel() && from.first + columns <= from.width;
  if (all_there && is_aligned(from.tensor) && is_aligned(to.tensor) &&
      slots().copy_runs(to.tensor.device(), {from.tensor, from.first, from.width},
                        {to.tensor, to.first, to.width}, rows, columns))
    return;
  dispatch(to.tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(to.tensor.device(), rows * columns,
                 CopyColumns<T>{from.tensor.data<T>(), to.tensor.data<T>(), from.tensor.numel() / from.width,
                                from.width, from.first, to.width, to.first, columns});
  });
}

Tensor widened(const Tensor& x, int64_t first, int64_t last) {
  if (x.size(0) == first && x.size(3) == last && is_aligned(x)) return x;
  Tensor wide = empty(x.shape().with(0, first).with(3, last), x.options());
  copy_columns({x, 0, x.size(3)}, {wide, 0, last}, last);
  return wide;
}

Tensor gathered(const Tensors& inputs, int64_t channels) {
  if (inputs.size() == 1) return widened(inputs[0], inputs[0].size(0), channels);
  Tensor all = empty(inputs[0].shape().with(3, channels), inputs[0].options());
  int64_t first = 0;
  for (const Tensor& input : inputs) {
    const int64_t own = input.size(3);
    const bool last = &input == &inputs.back();
    copy_columns({input, 0, own}, {all, first, channels}, last ? channels - first : own);
    first += own;
  }
  return all;
}

void finish_sums(const Finish& finish, const Tensor& sums, int64_t width, const Tensor& y) {
  const int64_t K = y.size(3);
  const bool in_place = sums.raw() == y.raw();
  if (in_place && !finish.bias.defined() && finish.activation == Activation::none) return;
  if (slots().epilogue(y.device(), sums, width, finish.bias, finish.activation, finish.slope, y)) return;
  dispatch(y.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(y.device(), y.numel(),
                 FinishSums<T>{sums.data<T>(), finish.bias.defined() ? finish.bias.data<T>() : nullptr,
                               y.data<T>(), width, K, finish.activation, finish.slope});
  });
}

}  // namespace lux::cuda
