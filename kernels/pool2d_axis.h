// Windows of pooling along one axis, as the plain and the tuned kernels see them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "luxgrad/tensor/dtype.h"

namespace lux {

/// Windows along one axis of `size` pixels.
struct PoolAxis {
  int64_t size, kernel, stride, before, after, windows;
  bool include_pad;

  LUX_HD int64_t begin(int64_t window) const { return std::max<int64_t>(0, window * stride - before); }
  LUX_HD int64_t end(int64_t window) const { return std::min(size, window * stride - before + kernel); }
  /// How many pixels the divisor counts.
  LUX_HD int64_t count(int64_t window) const {
    if (!include_pad) return end(window) - begin(window);
    return std::min(size + after, window * stride - before + kernel) - (window * stride - before);
  }
  LUX_HD int64_t first_window(int64_t pixel) const {
    return std::max<int64_t>(0, (pixel + before - kernel + stride) / stride);
  }
  LUX_HD int64_t last_window(int64_t pixel) const { return std::min(windows - 1, (pixel + before) / stride); }
  /// Whether no pixel is in two windows, and whether each is in one.
  bool apart() const { return stride >= kernel; }
  bool complete() const { return stride <= kernel && end(windows - 1) == size; }
};

}  // namespace lux
