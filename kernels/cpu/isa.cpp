#include "luxgrad/kernels/cpu/isa.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include "luxgrad/tensor/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

// NOLINTBEGIN(readability-identifier-naming): the linker looks for these names
extern "C" const lux::cpu::Isa lux_isa_v2, lux_isa_v3, lux_isa_v4;
extern "C" const lux::cpu::Pairs lux_pairs_bf16, lux_pairs_amx;
// NOLINTEND(readability-identifier-naming)
#else
extern "C" const lux::cpu::Isa lux_isa_base;
#endif

namespace lux::cpu {
namespace {

struct Candidate {
  const Isa* isa;
  bool runs, pays;
};

#if defined(__x86_64__)

bool has(unsigned bits, unsigned wanted) { return (bits & wanted) == wanted; }

// Level v4 with products of bf16.
Isa with_pairs(const char* name, const Pairs& pairs) {
  Isa isa = lux_isa_v4;
  isa.name = name;
  isa.pairs = &pairs;
  return isa;
}
const Isa& with_dots() {
  static const Isa isa = with_pairs("v4+bf16", lux_pairs_bf16);
  return isa;
}
const Isa& with_tiles() {
  static const Isa isa = with_pairs("v4+amx", lux_pairs_amx);
  return isa;
}

// What of AVX512_BF16, which comes with AVX512_VNNI, and of AMX the processor names.
struct Halves {
  bool dots = false, tiles = false;

  Halves() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return;
    dots = has(a, 1U << 5);
    __get_cpuid_count(7, 0, &a, &b, &c, &d);
    dots = dots && has(c, 1U << 11);
    tiles = has(d, 1U << 22 | 1U << 24);
  }
};

// Processors of Intel take as long for products of bf16 outside of tiles as for twice as many of f32.
bool dots_pay() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0, &a, &b, &c, &d) != 0 && b == signature_AMD_ebx && d == signature_AMD_edx &&
         c == signature_AMD_ecx;
}

// The system has to allow tiles, because they make what it saves of a thread 8 KB larger; all threads that
// follow have the permission. Where it refuses them, their first instruction would end the program.
bool tiles_allowed() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// The levels of the x86-64 psABI, bit by bit, because clang 14 knows neither their names nor all of their
// parts. The builtin asks whether the system saves the wide registers, too.
auto candidates() {
  __builtin_cpu_init();
  unsigned a = 0, b = 0, c = 0, d = 0, extended = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  __get_cpuid(0x80000001, &a, &b, &extended, &d);
  const bool v2 = has(c, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B) &&
                  has(extended, bit_LAHF_LM);
  const bool v3 = v2 && has(c, bit_MOVBE | bit_F16C | bit_OSXSAVE) && has(extended, bit_LZCNT) &&
                  __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const Halves halves;
  const bool dots = v4 && halves.dots, tiles = dots && halves.tiles && tiles_allowed();
  return std::array{Candidate{&with_tiles(), tiles, true}, Candidate{&with_dots(), dots, dots_pay()},
                    Candidate{&lux_isa_v4, v4, true}, Candidate{&lux_isa_v3, v3, true},
                    Candidate{&lux_isa_v2, v2, true}};
}
constexpr const char* kNames = "v2, v3, v4, v4+bf16 or v4+amx";
#else
auto candidates() { return std::array{Candidate{&lux_isa_base, true, true}}; }
constexpr const char* kNames = "base";
#endif

const Isa* choose() {
  const char* wanted = std::getenv("LUX_ISA");
  if (wanted != nullptr && *wanted == '\0') wanted = nullptr;
  for (const Candidate& candidate : candidates()) {
    if (wanted == nullptr ? candidate.runs && candidate.pays
                          : wanted == std::string_view(candidate.isa->name)) {
      check(candidate.runs, "LUX_ISA: this processor cannot run ", wanted);
      return candidate.isa;
    }
  }
  check(wanted == nullptr, "LUX_ISA: expected ", kNames, ", got ", wanted);
  return nullptr;
}

const Isa*& chosen() {
  static const Isa* table = choose();
  return table;
}

}  // namespace

const Isa* isa() { return chosen(); }

void set_isa(std::string_view name) {
  for (const Candidate& candidate : candidates()) {
    if (candidate.isa->name == name) chosen() = candidate.isa;
  }
}

}  // namespace lux::cpu
