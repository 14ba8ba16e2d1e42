#include "luxgrad/tensor/random.h"

#include <bit>
#include <cmath>

#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

// ln x for normal x > 0: x = m·2^e with m in [√½, √2), ln m = 2·artanh((m - 1) / (m + 1)).
double natural_log(double x) {
  uint64_t bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  double series = 0;
  for (int k = 21; k >= 1; k -= 2) series = series * z + 1.0 / k;
  return 2 * s * series + exponent * 0.6931471805599453;
}

// cos(2πt) for t in [0, 1), by the Taylor series on [0, 1/8] and symmetry.
double cos_turns(double t) {
  const double folded = t > 0.5 ? 1 - t : t;               // cos is even around a half turn
  const double u = folded > 0.25 ? 0.5 - folded : folded;  // and odd around a quarter
  const double sign = folded > 0.25 ? -1.0 : 1.0;
  const bool use_sine = u > 0.125;
  const double a = 6.283185307179586 * (use_sine ? 0.25 - u : u), z = a * a;
  double series = 1;
  for (int k = 20; k >= 2; k -= 2) series = 1 - series * z / (use_sine ? k * (k + 1.0) : k * (k - 1.0));
  return sign * (use_sine ? a * series : series);
}

// The next N words of the stream; a cipher block that several of them lie in is computed once.
template <size_t N>
std::array<uint32_t, N> words(Generator& g) {
  std::array<uint32_t, N> drawn;
  std::array<uint32_t, 4> block;
  for (size_t i = 0; i < N; ++i, ++g.position) {
    if (i == 0 || g.position % 4 == 0) {
      const uint64_t at = g.position / 4;
      block = philox({static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32),
                      static_cast<uint32_t>(g.stream), static_cast<uint32_t>(g.stream >> 32)},
                     {static_cast<uint32_t>(g.seed), static_cast<uint32_t>(g.seed >> 32)});
    }
    drawn[i] = block[g.position % 4];
  }
  return drawn;
}

// [0, 1) from 27 + 26 bits of two words.
double fraction(uint64_t high, uint64_t low) {
  return static_cast<double>((high >> 5) << 26 | (low >> 6)) * 0x1p-53;
}

void fill_from(const Tensor& target, Generator& generator, double (*draw)(Generator&), double scale,
               double offset) {
  const Tensor values = empty(target.shape(), {DType::f64, kCpu});
  auto* const data = values.data<double>();
  for (int64_t i = 0; i < target.numel(); ++i) data[i] = offset + scale * draw(generator);
  copy_(target, values);
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0], b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

Generator Generator::fork(uint64_t index) const {
  Generator child(seed);
  const auto mixed =
      philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0xF0F0F0F0u, 0},
             {static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)});
  child.stream = uint64_t{mixed[1]} << 32 | mixed[0];
  return child;
}

uint32_t Generator::next() { return words<1>(*this)[0]; }

double Generator::uniform() {
  const auto [high, low] = words<2>(*this);
  return fraction(high, low);
}

double Generator::normal() {
  const auto [a, b, c, d] = words<4>(*this);
  return std::sqrt(-2 * natural_log(1 - fraction(a, b))) * cos_turns(fraction(c, d));
}

uint64_t Generator::below(uint64_t bound) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  for (;;) {
    const uint64_t high = next(), value = high << 32 | next();
    if (value < limit) return value % bound;
  }
}

// Rejection: the density (x(1 − x))^(shape − 1) is highest in the middle.
double Generator::beta(double shape) {
  for (;;) {
    const double x = uniform(), u = uniform();
    if (x > 0 && natural_log(1 - u) <= (shape - 1) * natural_log(4 * x * (1 - x))) return x;
  }
}

void fill_uniform_(const Tensor& target, double low, double high, Generator& generator) {
  fill_from(
      target, generator, [](Generator& g) { return g.uniform(); }, high - low, low);
}

void fill_normal_(const Tensor& target, double mean, double deviation, Generator& generator) {
  fill_from(
      target, generator, [](Generator& g) { return g.normal(); }, deviation, mean);
}

}  // namespace lux
