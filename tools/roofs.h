// The roofs that a kernel runs under on this machine: what its cores multiply and add at most, and how fast
// they read each level of memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "luxgrad/tensor/tensor.h"

namespace lux {

struct Roofs {
  struct Level {
    int64_t bytes;  ///< per thread, that were read again and again
    double gigabytes_per_second;
  };

  double gflops = 0;       ///< of f32, a product with its sum counted as two
  double bf16_gflops = 0;  ///< of products of bf16, 0 where this processor has none
  std::vector<Level> levels;

  /// The least seconds for so many operations on so many bytes, each byte moved once. Convolutions by
  /// Winograd can stay below: they multiply less than they are counted for.
  double seconds(double flops, double bytes) const;
  std::string text() const;
};

/// Of all threads together; takes about a second. Without values on a processor that has no tiles.
Roofs measure_roofs();
/// Of a CUDA device: products of matrices of `dtype` in the precision at hand, and copies within its memory,
/// of which each byte is read and written. Throws Error where there is none.
Roofs measure_device_roofs(Device device, DType dtype);

}  // namespace lux
