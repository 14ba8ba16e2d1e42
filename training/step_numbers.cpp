#include "luxgrad/training/step_numbers.h"

#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct Put {
  enum { kInEveryBuild };  // a mark; nvcc calls a constant unused
  const T* source;
  double* target;
  LUX_HD void operator()(int64_t) const { *target = static_cast<double>(static_cast<Arith<T>>(*source)); }
};

// Whoever writes writes the same, so it does not matter who does so last.
template <class T>
struct MarkNotFinite {
  const T* source;
  double* mark;
  LUX_HD void operator()(int64_t i) const {
    const auto value = static_cast<Arith<T>>(source[i]);
    if (!(value - value == Arith<T>(0))) *mark = 1;
  }
};

template <class T>
struct ClearLast {
  const T* factors;
  T* result;
  const double* numbers;
  int64_t size, count;
  LUX_HD void operator()(int64_t i) const {
    bool finite = true;
    for (int64_t n = 0; n < count; ++n) finite = finite && numbers[n] - numbers[n] == 0;
    result[i] = i + 1 == size && !finite ? T(0) : factors[i];
  }
};

}  // namespace

Tensor gathered(const Tensors& scalars) {
  const Device device = scalars.front().device();
  const Tensor all = empty({static_cast<int64_t>(scalars.size())}, {DType::f64, device});
  double* target = all.data<double>();
  for (const Tensor& scalar : scalars) {
    check(scalar.numel() == 1, "gathered: expected tensors with one element, got ", scalar.shape());
    dispatch(scalar.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(device, 1, Put<T>{scalar.data<T>(), target++});
    });
  }
  return all;
}

void mark_not_finite_(const Tensor& numbers, int64_t at, const Tensors& tensors) {
  double* const mark = numbers.data<double>() + at;
  for (const Tensor& tensor : tensors) {
    dispatch(tensor.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(numbers.device(), tensor.numel(), MarkNotFinite<T>{tensor.data<T>(), mark});
    });
  }
}

Tensor unless_not_finite(const Tensor& factors, const Tensor& numbers, int64_t count) {
  Tensor result = empty(factors.shape(), factors.options());
  dispatch(factors.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(
        factors.device(), factors.numel(),
        ClearLast<T>{factors.data<T>(), result.data<T>(), numbers.data<double>(), factors.numel(), count});
  });
  return result;
}

}  // namespace lux
