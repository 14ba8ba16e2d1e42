// What a sample of a picture means, a byte or a word of 16 bits, for the plain and the tuned kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "luxgrad/tensor/dtype.h"

namespace lux {

template <class A, class Sample>
LUX_HD A value_of_sample(Sample sample) {
  return A(sample) / A(std::numeric_limits<Sample>::max());
}

/// Exact until it is rounded, as where pictures are made on the host (data/image.cpp).
template <class Sample>
LUX_HD Sample sample_of_value(double x) {
  constexpr double kFull = std::numeric_limits<Sample>::max();
  const double scaled = std::floor(x * kFull + 0.5);
  return scaled > 0 ? static_cast<Sample>(scaled < kFull ? scaled : kFull) : Sample{0};
}

}  // namespace lux
