#include "amx_emulator.h"

#include "luxgrad/kernels/cpu/isa.h"

#if defined(__x86_64__) && defined(__linux__)

#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace lux::test {
namespace {

constexpr int kTiles = 8, kRows = 16, kRowBytes = 64, kNumbers = kRowBytes / 4;

using Tile = std::array<std::array<uint32_t, kNumbers>, kRows>;

// Of a thread, as its registers are.
struct TileState {
  bool configured = false;
  std::array<Tile, kTiles> tiles{};
};
thread_local TileState state;

[[noreturn]] void stop(std::string_view why) {
  constexpr std::string_view kPrefix = "amx_emulator: ";
  (void)!write(STDERR_FILENO, kPrefix.data(), kPrefix.size());
  (void)!write(STDERR_FILENO, why.data(), why.size());
  (void)!write(STDERR_FILENO, "\n", 1);
  _exit(70);
}

Tile& tile(unsigned number) {
  if (!state.configured) stop("a tile was used before the thread configured it");
  return state.tiles.at(number);
}

// An instruction with a VEX prefix of three bytes in map 0F38, W and L being 0.
struct Instruction {
  uint8_t prefix = 0;  // 0: none, 1: 66, 2: F3, 3: F2
  uint8_t opcode = 0;
  unsigned reg = 0, rm = 0, vvvv = 0;
  bool in_memory = false;
  uint64_t address = 0;  // of the operand in memory, without its index
  uint64_t stride = 0;   // what the index register holds, scaled
  size_t length = 0;
};

// The general registers in the order in which instructions number them.
constexpr std::array kRegisters = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

uint64_t value_of(const greg_t* registers, unsigned number) {
  return static_cast<uint64_t>(registers[kRegisters.at(number)]);
}

bool decode(const uint8_t* code, const greg_t* registers, Instruction& i) {
  if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0) return false;
  const unsigned first = ~unsigned{code[1]}, second = ~unsigned{code[2]};  // these bits are stored inverted
  const unsigned extend_reg = (first >> 7 & 1U) * 8, extend_index = (first >> 6 & 1U) * 8,
                 extend_base = (first >> 5 & 1U) * 8;
  i.prefix = code[2] & 3;
  i.vvvv = second >> 3 & 15U;
  i.opcode = code[3];
  const unsigned mode = code[4] >> 6;
  i.reg = (code[4] >> 3 & 7U) + extend_reg;
  i.rm = (code[4] & 7U) + extend_base;
  const uint8_t* next = code + 5;
  i.in_memory = mode != 3;
  if (i.in_memory) {
    bool relative = false, based = true;
    unsigned base = i.rm;
    if ((code[4] & 7U) == 4) {
      const uint8_t sib = *next++;
      const unsigned index = (sib >> 3 & 7U) + extend_index;
      if (index != 4) i.stride = value_of(registers, index) << (sib >> 6);
      base = (sib & 7U) + extend_base;
      based = (sib & 7U) != 5 || mode != 0;
    } else if ((code[4] & 7U) == 5 && mode == 0) {
      relative = true;
    }
    int32_t moved = 0;
    if (mode == 1) {
      moved = std::bit_cast<int8_t>(*next++);  // NOLINT(bugprone-signed-char-misuse): a number
    } else if (mode == 2 || relative || !based) {
      std::memcpy(&moved, next, sizeof moved);
      next += sizeof moved;
    }
    i.length = static_cast<size_t>(next - code);
    i.address = static_cast<uint64_t>(static_cast<int64_t>(moved));
    if (relative)
      i.address += static_cast<uint64_t>(registers[REG_RIP]) + i.length;
    else if (based)
      i.address += value_of(registers, base);
  }
  i.length = static_cast<size_t>(next - code);
  return true;
}

void configure(const uint8_t* bytes) {
  if (bytes[0] != 1 || bytes[1] != 0) stop("expected a configuration of palette 1 that starts at row 0");
  for (int t = 0; t < 16; ++t) {
    uint16_t row_bytes = 0;
    std::memcpy(&row_bytes, bytes + 16 + 2 * t, sizeof row_bytes);
    const bool used = t < kTiles;
    if (row_bytes != (used ? kRowBytes : 0) || bytes[48 + t] != (used ? kRows : 0))
      stop("expected eight tiles of 16 rows of 64 bytes");
  }
  state = {};
  state.configured = true;
}

// A number of bf16, or a sum: both with denormals as zeros.
float flushed(uint32_t bits) {
  if ((bits & 0x7F800000U) == 0) bits &= 0x80000000U;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
uint32_t bits_of(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & 0x7F800000U) == 0 ? bits & 0x80000000U : bits;
}

// TDPBF16PS: the products of even numbers are one sum, those of odd ones another, each product fused with it.
void multiply(Tile& sums, const Tile& a, const Tile& b) {
  for (size_t m = 0; m < kRows; ++m) {
    for (size_t n = 0; n < kNumbers; ++n) {
      float even = 0, odd = 0;
      for (size_t k = 0; k < kNumbers; ++k) {
        even = flushed(bits_of(__builtin_fmaf(flushed(a[m][k] << 16), flushed(b[k][n] << 16), even)));
        odd = flushed(
            bits_of(__builtin_fmaf(flushed(a[m][k] & 0xFFFF0000U), flushed(b[k][n] & 0xFFFF0000U), odd)));
      }
      sums[m][n] = bits_of(flushed(sums[m][n]) + flushed(bits_of(even + odd)));
    }
  }
}

bool run(const Instruction& i) {
  const auto is = [&](uint8_t prefix, uint8_t opcode, bool in_memory) {
    return i.prefix == prefix && i.opcode == opcode && i.in_memory == in_memory;
  };
  if (is(0, 0x49, true)) {  // LDTILECFG
    configure(reinterpret_cast<const uint8_t*>(i.address));
  } else if (is(0, 0x49, false)) {  // TILERELEASE
    state = {};
  } else if (is(3, 0x49, false)) {  // TILEZERO
    tile(i.reg) = {};
  } else if (is(3, 0x4B, true)) {  // TILELOADD
    Tile& to = tile(i.reg);
    for (size_t row = 0; row < kRows; ++row)
      std::memcpy(to[row].data(), reinterpret_cast<const void*>(i.address + row * i.stride), kRowBytes);
  } else if (is(2, 0x4B, true)) {  // TILESTORED
    const Tile& from = tile(i.reg);
    for (size_t row = 0; row < kRows; ++row)
      std::memcpy(reinterpret_cast<void*>(i.address + row * i.stride), from[row].data(), kRowBytes);
  } else if (is(2, 0x5C, false)) {  // TDPBF16PS
    multiply(tile(i.reg), tile(i.rm), tile(i.vvvv));
  } else {
    return false;
  }
  return true;
}

void carry_out(int, siginfo_t*, void* context) {
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  Instruction instruction;
  const auto* const code = reinterpret_cast<const uint8_t*>(registers[REG_RIP]);
  if (!decode(code, registers, instruction) || !run(instruction))
    stop("met an instruction that it does not know");
  registers[REG_RIP] += static_cast<greg_t>(instruction.length);
}

}  // namespace

bool emulate_amx() {
  if (!__builtin_cpu_supports("avx512bf16")) return false;
  struct sigaction action {};
  action.sa_sigaction = carry_out;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
  cpu::set_isa("v4+amx");
  return true;
}

}  // namespace lux::test

#else

namespace lux::test {
bool emulate_amx() { return false; }
}  // namespace lux::test

#endif
