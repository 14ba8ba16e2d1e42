// What a byte of a picture means, for the plain and the tuned kernels.
#pragma once

#include <cmath>
#include <cstdint>

#include "luxgrad/tensor/dtype.h"

namespace lux {

template <class A>
LUX_HD A value_of_byte(uint8_t byte) {
  return A(byte) / A(255);
}

template <class A>
LUX_HD uint8_t byte_of_value(A x) {
  const A scaled = std::floor(x * A(255) + A(0.5));
  return scaled > A(0) ? static_cast<uint8_t>(scaled < A(255) ? scaled : A(255)) : uint8_t{0};
}

}  // namespace lux
