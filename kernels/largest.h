// The largest of some values, where a NaN is larger than anything.
#pragma once

#include <cstdint>

#include "luxgrad/tensor/dtype.h"

namespace lux {

/// Of `n` values, n at least 1, in 32 lanes: one chain of comparisons waits for each of them. Where both
/// zeros are the largest it is either.
template <class T>
LUX_HD Arith<T> largest_of(const T* values, int64_t n) {
  using A = Arith<T>;
  constexpr int64_t kLanes = 32;  // GCC unrolls 16, and then sees no vectors
  const auto larger = [](A a, A b) {
    const A most = b > a ? b : a;
    return b == b ? most : b;
  };
  A lanes[kLanes];
  for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = values[0];
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = larger(lanes[lane], A(values[i + lane]));
  }
  for (int64_t lane = 0; i < n; ++i, ++lane) lanes[lane] = larger(lanes[lane], A(values[i]));
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t lane = 0; lane < width; ++lane) lanes[lane] = larger(lanes[lane], lanes[lane + width]);
  }
  return lanes[0];
}

}  // namespace lux
