// What a core can do at most: products with sums in registers, and reading memory. `luxgrad bench` holds
// kernels against it. Compiled once per instruction set, like tiles.cpp.
#include "luxgrad/kernels/cpu/band.h"
#include "luxgrad/kernels/cpu/block.h"

namespace {

// As many independent chains as the kernels have sums.
double multiply_add(int64_t rounds, float* values) {
  const Vector<float> factor = load(values), term = load(values + kLanes<float>);
  Vector<float> chains[kSums];
  LUX_UNROLL
  for (int k = 0; k < kSums; ++k) chains[k] = term * static_cast<float>(k);
  for (int64_t round = 0; round < rounds; ++round) {
    LUX_UNROLL
    for (int k = 0; k < kSums; ++k) chains[k] = chains[k] * factor + term;
  }
  for (int k = 1; k < kSums; ++k) chains[0] += chains[k];
  store(values, chains[0]);
  return 2.0 * kSums * kLanes<float> * static_cast<double>(rounds);
}

float read(const float* from, int64_t count) {
  constexpr int64_t kChains = 8, kStep = kChains * kLanes<float>;
  Vector<float> sums[kChains] = {};
  for (int64_t i = 0; i + kStep <= count; i += kStep) {
    LUX_UNROLL
    for (int64_t k = 0; k < kChains; ++k) sums[k] += load(from + i + k * kLanes<float>);
  }
  for (int64_t k = 1; k < kChains; ++k) sums[0] += sums[k];
  float sum = 0;
  for (int lane = 0; lane < kLanes<float>; ++lane) sum += sums[0][lane];
  return sum;
}

}  // namespace

extern "C" {
extern const lux::cpu::Roofs LUX_JOIN(lux_roofs_, LUX_ISA);
const lux::cpu::Roofs LUX_JOIN(lux_roofs_, LUX_ISA) = {.multiply_add = multiply_add, .read = read};
}
