#include "luxgrad/kernels/cpu/isa.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include "luxgrad/tensor/error.h"

#if defined(__x86_64__)
extern "C" const lux::cpu::Isa lux_isa_v2, lux_isa_v3, lux_isa_v4;
#else
extern "C" const lux::cpu::Isa lux_isa_base;
#endif

namespace lux::cpu {
namespace {

struct Candidate {
  const Isa* isa;
  bool runs;
};

#if defined(__x86_64__)
auto candidates() {
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return std::array{Candidate{&lux_isa_v4, v4}, Candidate{&lux_isa_v3, v3}, Candidate{&lux_isa_v2, v2}};
}
#else
auto candidates() { return std::array{Candidate{&lux_isa_base, true}}; }
#endif

const Isa* choose() {
  const char* const wanted = std::getenv("LUX_ISA");
  for (const Candidate& candidate : candidates()) {
    if (wanted == nullptr ? candidate.runs : wanted == std::string_view(candidate.isa->name)) {
      check(candidate.runs, "LUX_ISA: this processor cannot run ", wanted);
      return candidate.isa;
    }
  }
  check(wanted == nullptr, "LUX_ISA: expected v2, v3 or v4, got ", wanted);
  return nullptr;
}

}  // namespace

const Isa* isa() {
  static const Isa* const chosen = choose();
  return chosen;
}

}  // namespace lux::cpu
