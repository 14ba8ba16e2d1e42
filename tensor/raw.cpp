#include "luxgrad/tensor/raw.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {
namespace {

// `dispatch` for every dtype, files' ones included.
template <class F>
void dispatch_any(DType dtype, F&& f) {
  if (dtype == DType::u8) return f(uint8_t{});
  if (dtype == DType::i64) return f(int64_t{});
  dispatch(dtype, f);
}

// To float, rounded so that rounding again to fewer bits gives what rounding once would: towards zero, with
// the last bit set if anything was lost.
LUX_HD inline float to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  const auto back = static_cast<double>(nearest);
  if (back == value || value != value || std::isinf(value)) return nearest;
  const uint32_t bits = std::bit_cast<uint32_t>(nearest);
  return std::bit_cast<float>((std::fabs(back) > std::fabs(value) ? bits - 1 : bits) | 1u);
}

template <class To, class From>
LUX_HD To convert(From value) {
  if constexpr (std::is_same_v<To, uint8_t> && std::is_same_v<From, int64_t>) {
    return static_cast<uint8_t>(value < 0 ? 0 : (value > 255 ? 255 : value));
  } else if constexpr (std::is_integral_v<To> && !std::is_integral_v<From>) {
    const double rounded = std::nearbyint(static_cast<double>(static_cast<Arith<From>>(value)));
    constexpr auto low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
    if (!(rounded > static_cast<double>(low))) return low;  // NaN too
    return rounded >= static_cast<double>(high) ? high : static_cast<To>(rounded);
  } else if constexpr (std::is_integral_v<From> && std::is_integral_v<To>) {
    return static_cast<To>(value);
  } else if constexpr (std::is_same_v<To, bf16> || std::is_same_v<To, f16>) {
    if constexpr (std::is_same_v<From, double>) return To(to_odd(value));
    return To(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

template <class To, class From>
struct Convert {
  enum { kInEveryBuild };  // a mark; nvcc calls a constant unused
  const From* source;
  To* target;
  LUX_HD void operator()(int64_t i) const { target[i] = convert<To>(source[i]); }
};

// Counted without a branch, so in vectors.
template <class T>
bool finite_run(const T* data, int64_t count) {
  int bad = 0;
  for (int64_t i = 0; i < count; ++i) bad += std::isfinite(static_cast<Arith<T>>(data[i])) ? 0 : 1;
  return bad == 0;
}

template <class T>
struct Fill {
  T* target;
  T value;
  LUX_HD void operator()(int64_t i) const { target[i] = value; }
};

template <class T>
struct Accumulate {
  const T* source;
  T* target;
  LUX_HD void operator()(int64_t i) const { target[i] = Arith<T>(target[i]) + Arith<T>(source[i]); }
};

template <class T>
struct Scale {
  T* target;
  Arith<T> factor;
  LUX_HD void operator()(int64_t i) const { target[i] = Arith<T>(target[i]) * factor; }
};

template <class T>
struct NonFinite {
  const T* source;
  double* result;
  LUX_HD double term(int64_t, int64_t i) const {
    const auto value = static_cast<Arith<T>>(source[i]);
    return value - value == Arith<T>(0) ? 0.0 : 1.0;
  }
  LUX_HD void finish(int64_t, double sum) const { *result = sum; }
};

template <class T>
struct Square {
  const T* source;
  double* result;
  LUX_HD double term(int64_t, int64_t i) const {
    const auto value = static_cast<double>(static_cast<Arith<T>>(source[i]));
    return value * value;
  }
  LUX_HD void finish(int64_t, double sum) const { *result = sum; }
};

// From device to device: converted on the host's side, copied as it is.
void copy_across(const Tensor& target, const Tensor& source) {
  if (source.device() != kCpu && target.dtype() != source.dtype()) return copy_(target, source.to(kCpu));
  const Tensor from = source.to(target.dtype());
  cuda::copy(target.raw(), target.device(), from.raw(), from.device(),
             target.numel() * static_cast<int64_t>(size_of(target.dtype())));
  target.storage()->raise_version();
}

// How many elements are NaN or infinite.
template <class T>
double count_of_non_finite(const Tensor& tensor) {
  const Tensor count = empty({}, {DType::f64, tensor.device()});
  parallel_reduce(tensor.device(), 1, tensor.numel(), NonFinite<T>{tensor.data<T>(), count.data<double>()});
  return count.item();
}

}  // namespace

void fill_(const Tensor& target, double value) {
  dispatch_any(target.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(target.device(), target.numel(), Fill<T>{target.data<T>(), convert<T>(value)});
  });
  target.storage()->raise_version();
}

void copy_(const Tensor& target, const Tensor& source) {
  check(target.numel() == source.numel(), "copy_: expected ", target.shape(), ", got ", source.shape());
  if (target.device() != source.device()) return copy_across(target, source);
  dispatch_any(target.dtype(), [&](auto to) {
    dispatch_any(source.dtype(), [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      parallel_for(target.device(), target.numel(),
                   Convert<To, From>{source.data<From>(), target.data<To>()});
    });
  });
  target.storage()->raise_version();
}

void add_(const Tensor& target, const Tensor& source) {
  check(target.shape() == source.shape() && target.dtype() == source.dtype(), "add_: expected ",
        target.dtype(), target.shape(), ", got ", source.dtype(), source.shape());
  dispatch(target.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(target.device(), target.numel(), Accumulate<T>{source.data<T>(), target.data<T>()});
  });
  target.storage()->raise_version();
}

void scale_(const Tensor& target, double factor) {
  dispatch(target.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(target.device(), target.numel(), Scale<T>{target.data<T>(), static_cast<Arith<T>>(factor)});
  });
  target.storage()->raise_version();
}

int64_t first_non_finite(const Tensor& tensor) {
  return dispatch(tensor.dtype(), [&](auto t) -> int64_t {
    using T = decltype(t);
    if (tensor.device() != kCpu) {  // only one number comes back, unless something is wrong
      if (count_of_non_finite<T>(tensor) == 0) return -1;
      return first_non_finite(tensor.to(kCpu));
    }
    const T* const data = tensor.data<T>();
    constexpr int64_t kBlock = 1024;
    for (int64_t begin = 0; begin < tensor.numel(); begin += kBlock) {
      if (finite_run(data + begin, std::min(kBlock, tensor.numel() - begin))) continue;
      for (int64_t i = begin;; ++i) {
        if (!finite_run(data + i, 1)) return i;
      }
    }
    return -1;
  });
}

bool all_finite(const Tensor& tensor) {
  constexpr int64_t kRun = int64_t{1} << 15;
  std::atomic<bool> finite{true};
  dispatch(tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    const T* const data = tensor.data<T>();
    run_chunks((tensor.numel() + kRun - 1) / kRun, [&](int64_t chunk) {
      const int64_t begin = chunk * kRun;
      if (!finite_run(data + begin, std::min(kRun, tensor.numel() - begin))) finite = false;
    });
  });
  return finite;
}

void square_sum_(const Tensor& sums, int64_t at, const Tensor& tensor) {
  check(sums.dtype() == DType::f64 && sums.device() == tensor.device() && at >= 0 && at < sums.numel(),
        "square_sum_: expected f64 sums on the tensor's device and a place among ", sums.numel(), ", got ",
        sums.dtype(), sums.shape(), " and ", at);
  dispatch(tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_reduce(tensor.device(), 1, tensor.numel(),
                    Square<T>{tensor.data<T>(), sums.data<double>() + at});
  });
  sums.storage()->raise_version();
}

double l2_norm(const Tensor& tensor) {
  const Tensor sum = empty({}, {DType::f64, tensor.device()});
  square_sum_(sum, 0, tensor);
  return std::sqrt(sum.item());
}

}  // namespace lux
