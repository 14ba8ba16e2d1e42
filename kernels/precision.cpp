#include "luxgrad/kernels/precision.h"

#include <array>
#include <atomic>

namespace lux {
namespace {

constexpr std::array kNames = {"exact", "fp32", "tf32", "bf16"};
std::atomic<Precision> current = Precision::fp32;

}  // namespace

const char* name_of(Precision precision) { return kNames.at(static_cast<size_t>(precision)); }

std::optional<Precision> precision_named(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames.at(i)) return static_cast<Precision>(i);
  }
  return std::nullopt;
}

Precision precision() { return current; }
Precision set_precision(Precision precision) { return current.exchange(precision); }

DType stored_as(DType dtype, Device device) {
  return dtype == DType::f32 && device != kCpu && precision() == Precision::bf16 ? DType::bf16 : dtype;
}

}  // namespace lux
