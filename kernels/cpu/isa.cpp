#include "luxgrad/kernels/cpu/isa.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include "luxgrad/tensor/error.h"

#if defined(__x86_64__)
#include <cpuid.h>

// NOLINTNEXTLINE(readability-identifier-naming): the linker looks for these names
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
// The levels of the x86-64 psABI, bit by bit, because clang 14 knows neither their names nor all of their
// parts. The builtin asks whether the system saves the wide registers, too.
auto candidates() {
  __builtin_cpu_init();
  unsigned a = 0, b = 0, c = 0, d = 0, extended = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  __get_cpuid(0x80000001, &a, &b, &extended, &d);
  const auto has = [](unsigned bits, unsigned wanted) { return (bits & wanted) == wanted; };
  const bool v2 = has(c, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B) &&
                  has(extended, bit_LAHF_LM);
  const bool v3 = v2 && has(c, bit_MOVBE | bit_F16C | bit_OSXSAVE) && has(extended, bit_LZCNT) &&
                  __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return std::array{Candidate{&lux_isa_v4, v4}, Candidate{&lux_isa_v3, v3}, Candidate{&lux_isa_v2, v2}};
}
constexpr const char* kNames = "v2, v3 or v4";
#else
auto candidates() { return std::array{Candidate{&lux_isa_base, true}}; }
constexpr const char* kNames = "base";
#endif

const Isa* choose() {
  const char* wanted = std::getenv("LUX_ISA");
  if (wanted != nullptr && *wanted == '\0') wanted = nullptr;
  for (const Candidate& candidate : candidates()) {
    if (wanted == nullptr ? candidate.runs : wanted == std::string_view(candidate.isa->name)) {
      check(candidate.runs, "LUX_ISA: this processor cannot run ", wanted);
      return candidate.isa;
    }
  }
  check(wanted == nullptr, "LUX_ISA: expected ", kNames, ", got ", wanted);
  return nullptr;
}

}  // namespace

const Isa* isa() {
  static const Isa* const chosen = choose();
  return chosen;
}

}  // namespace lux::cpu
