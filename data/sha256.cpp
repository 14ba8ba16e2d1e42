#include "luxgrad/data/sha256.h"

#include <algorithm>
#include <bit>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace lux {
namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<uint32_t, 64> kRound{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<uint32_t, 8>;

void absorb_plainly(State& state, const uint8_t* block) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i) {
    w[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 | uint32_t{block[4 * i + 2]} << 8 |
           uint32_t{block[4 * i + 3]};
  }
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  const State worked{a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += worked[i];
}

#if defined(__x86_64__)

bool has_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool ssse3 = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_SSSE3) != 0;
  return ssse3 && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
}

// Intel, "SHA Extensions" (2013): two rounds per instruction on the state as (a, b, e, f) and (c, d, g, h),
// the first in the highest lane.
__attribute__((target("sha,ssse3"))) void absorb_by_instructions(State& state, const uint8_t* block) {
  const auto lanes = [](const auto* from) { return reinterpret_cast<const __m128i*>(from); };
  const auto [a, b, c, d, e, f, g, h] = std::bit_cast<std::array<int, 8>>(state);
  const __m128i abef = _mm_set_epi32(a, b, e, f), cdgh = _mm_set_epi32(c, d, g, h);
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i w[4];
  for (int i = 0; i < 4; ++i) w[i] = _mm_shuffle_epi8(_mm_loadu_si128(lanes(block) + i), big_endian);

  __m128i first = abef, second = cdgh;
  for (size_t round = 0; round < 64; round += 4) {
    const __m128i added = _mm_add_epi32(w[0], _mm_loadu_si128(lanes(&kRound[round])));
    second = _mm_sha256rnds2_epu32(second, first, added);
    first = _mm_sha256rnds2_epu32(first, second, _mm_shuffle_epi32(added, 0x0e));
    const __m128i summed = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), _mm_alignr_epi8(w[3], w[2], 4));
    const __m128i next = _mm_sha256msg2_epu32(summed, w[3]);
    w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = next;  // of sixteen rounds further on
  }
  std::array<uint32_t, 4> x, y;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(x.data()), _mm_add_epi32(abef, first));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y.data()), _mm_add_epi32(cdgh, second));
  state = {x[3], x[2], y[3], y[2], x[1], x[0], y[1], y[0]};
}

#else

bool has_instructions() { return false; }
void absorb_by_instructions(State& state, const uint8_t* block) { absorb_plainly(state, block); }

#endif

}  // namespace

Sha256::Sha256() : Sha256(absorb_plainly) {
  static const bool fast = has_instructions();
  if (fast) absorb_ = absorb_by_instructions;
}

Sha256::Sha256(Absorb absorb)
    : absorb_(absorb), state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                              0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {}

void Sha256::add(std::span<const uint8_t> bytes) {
  const size_t waiting = count_ % block_.size();
  count_ += bytes.size();
  if (waiting > 0) {
    const size_t taken = std::min(block_.size() - waiting, bytes.size());
    std::copy_n(bytes.begin(), taken, block_.begin() + static_cast<ptrdiff_t>(waiting));
    bytes = bytes.subspan(taken);
    if (waiting + taken < block_.size()) return;
    absorb_(state_, block_.data());
  }
  for (; bytes.size() >= block_.size(); bytes = bytes.subspan(block_.size())) absorb_(state_, bytes.data());
  std::copy(bytes.begin(), bytes.end(), block_.begin());
}

std::string Sha256::digest() const {
  // The rest, a one bit, zeros, and the length in bits.
  State state = state_;
  std::array<uint8_t, 128> tail{};
  const size_t rest = count_ % block_.size(), length = rest < 56 ? 64 : 128;
  std::copy_n(block_.begin(), rest, tail.begin());
  tail[rest] = 0x80;
  const uint64_t bits = count_ * 8;
  for (size_t i = 0; i < 8; ++i) tail[length - 1 - i] = static_cast<uint8_t>(bits >> (8 * i));
  for (size_t at = 0; at < length; at += block_.size()) absorb_(state, tail.data() + at);

  std::string digest;
  for (const uint32_t word : state) {
    for (int shift = 28; shift >= 0; shift -= 4) digest += "0123456789abcdef"[word >> shift & 15];
  }
  return digest;
}

std::string sha256(std::span<const uint8_t> bytes) {
  Sha256 sum;
  sum.add(bytes);
  return sum.digest();
}

std::string sha256_plainly(std::span<const uint8_t> bytes) {
  Sha256 sum(absorb_plainly);
  sum.add(bytes);
  return sum.digest();
}

}  // namespace lux
