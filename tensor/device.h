// Where bytes live and kernels run.
#pragma once

#include <cstdint>
#include <string>

namespace lux {

struct Device {
  enum class Type : uint8_t { cpu, cuda };
  Type type = Type::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

inline constexpr Device kCpu{};

/// `cpu` or `cuda:0`
inline void append(std::string& text, Device device) {
  text += device.type == Device::Type::cpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

}  // namespace lux
