// Where bytes live and kernels run.
#pragma once

#include <cstdint>

namespace lux {

struct Device {
  enum class Type : uint8_t { cpu, cuda };
  Type type = Type::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

inline constexpr Device kCpu{};

}  // namespace lux
