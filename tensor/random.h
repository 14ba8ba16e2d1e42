// Random numbers that are the same on every processor: Philox4x32-10 (Salmon et al., SC 2011), a block cipher
// over a counter, with own distributions (those of the standard library differ between builds).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Ten rounds of Philox 4x32.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// 64-bit FNV-1a of the bytes.
uint64_t fnv1a(std::string_view text);

/// A stream of random numbers named by (seed, purpose). Its whole state is three integers, so it can be
/// stored and resumed.
struct Generator {
  uint64_t seed = 0;
  uint64_t stream = 0;
  uint64_t position = 0;  ///< 32-bit words drawn so far

  explicit Generator(uint64_t seed, std::string_view purpose = "") : seed(seed), stream(fnv1a(purpose)) {}

  /// An independent stream for item `index` of this one (image, epoch, step); does not advance this one.
  Generator fork(uint64_t index) const;

  uint32_t next();   ///< 32 random bits
  double uniform();  ///< [0, 1), 53 bits
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal();                 ///< mean 0, standard deviation 1 (Box-Muller on own polynomials)
  uint64_t below(uint64_t bound);  ///< [0, bound), unbiased; bound at least 1
  double beta(double shape);       ///< Beta(shape, shape) on (0, 1); shape at least 1
};

/// U(low, high) into every element, in order.
void fill_uniform_(const Tensor& target, double low, double high, Generator& generator);
/// N(mean, deviation²) into every element, in order.
void fill_normal_(const Tensor& target, double mean, double deviation, Generator& generator);

}  // namespace lux
