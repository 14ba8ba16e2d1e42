// How exactly convolutions and matrix products of f32 are computed. Everything else, the sums of these
// products included, is f32 in any case.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "luxgrad/tensor/device.h"
#include "luxgrad/tensor/dtype.h"

namespace lux {

enum class Precision : uint8_t {
  exact,  ///< products of f32, directly or by Winograd: errors like those of a direct sum in f32
  fp32,   ///< the same, or where no gradient is recorded three products of bf16 for one: 1e-5 relative
  tf32,   ///< products of 11 bits, on CUDA devices only: 1e-3
  bf16,   ///< products of 8 bits or more where the processor multiplies pairs of them: 1e-2. On CUDA devices
          ///< networks are stored so, and all that they compute; on the CPU what gradients need of it
};

const char* name_of(Precision precision);
inline void append(std::string& text, Precision precision) { text += name_of(precision); }
/// `exact`, `fp32`, `tf32` or `bf16`; nothing for any other text.
std::optional<Precision> precision_named(std::string_view name);

/// Of convolutions that are called from now on, and of their gradients; `fp32` at the start.
Precision precision();
/// Returns the one before. Operators may be running: each keeps the precision that it began with.
Precision set_precision(Precision precision);

/// What a network on `device` is stored as while it computes, where it would be `dtype` by itself.
DType stored_as(DType dtype, Device device);

/// While it lives, convolutions have another precision.
class PrecisionScope {
 public:
  explicit PrecisionScope(Precision precision) : before_(set_precision(precision)) {}
  ~PrecisionScope() { set_precision(before_); }
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  Precision before_;
};

}  // namespace lux
