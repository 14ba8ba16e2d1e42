// Broadcasting as in NumPy: shapes are aligned at their last dimension, and a size of 1 is repeated.
#pragma once

#include <algorithm>

#include "luxgrad/tensor/dtype.h"
#include "luxgrad/tensor/shape.h"

namespace lux {

/// Offset of element i in a tensor that is repeated along some dimensions. Neighbouring dimensions that are
/// walked alike are merged, so that equal shapes, scalars, and per-channel vectors cost none or one division.
struct Strided {
  int rank = 1;
  int64_t size[Shape::kMaxRank] = {1};
  int64_t stride[Shape::kMaxRank] = {0};

  LUX_HD int64_t operator()(int64_t i) const {
    int64_t offset = 0;
    for (int d = rank - 1; d > 0; --d) {
      const int64_t outer = i / size[d];
      offset += (i - outer * size[d]) * stride[d];
      i = outer;
    }
    return offset + i * stride[0];
  }

  /// Appends a dimension inside the others.
  void push(int64_t new_size, int64_t new_stride) {
    if (new_size == 1) return;
    const int last = rank - 1;
    if (size[last] == 1) {
      size[last] = new_size;
      stride[last] = new_stride;
    } else if (stride[last] == new_stride * new_size) {
      size[last] *= new_size;
      stride[last] = new_stride;
    } else {
      size[rank] = new_size;
      stride[rank] = new_stride;
      ++rank;
    }
  }
};

/// The shape that `a` and `b` share after repetition. Throws Error in the name of `op` when there is none.
inline Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  int64_t sizes[Shape::kMaxRank];
  for (int d = 0; d < rank; ++d) {
    const int da = d - rank + a.rank(), db = d - rank + b.rank();
    const int64_t size_a = da < 0 ? 1 : a[da], size_b = db < 0 ? 1 : b[db];
    check(size_a == size_b || size_a == 1 || size_b == 1, op, ": expected shapes that broadcast, got ", a,
          " and ", b);
    sizes[d] = size_a == 1 ? size_b : size_a;
  }
  return {sizes, sizes + rank};
}

/// Where element i of `wide` is found in a tensor of shape `narrow` that broadcasts to it.
inline Strided broadcast_index(const Shape& narrow, const Shape& wide) {
  int64_t strides[Shape::kMaxRank];
  int64_t stride = 1;
  for (int d = wide.rank() - 1; d >= 0; --d) {
    const int own = d - wide.rank() + narrow.rank();
    const int64_t size = own < 0 ? 1 : narrow[own];
    strides[d] = size == 1 ? 0 : stride;
    stride *= size;
  }
  Strided index;
  for (int d = 0; d < wide.rank(); ++d) index.push(wide[d], strides[d]);
  return index;
}

}  // namespace lux
