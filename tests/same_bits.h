// Equality of tensors that knows no tolerance.
#pragma once

#include <cstring>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Whether both are undefined, or have the same shape, dtype and bytes, NaN and the sign of zero included.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.numel()) * size_of(a.dtype())) == 0;
}

}  // namespace lux
