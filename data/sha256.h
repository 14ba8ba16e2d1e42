// SHA-256 (FIPS 180-4): tells whether a file is what was written.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace lux {

/// Of bytes that come piece by piece.
class Sha256 {
 public:
  Sha256();
  void add(std::span<const uint8_t> bytes);
  /// The digest of all that was added, as 64 lower-case hexadecimal digits.
  std::string digest() const;

 private:
  using State = std::array<uint32_t, 8>;
  using Absorb = void (*)(State&, const uint8_t* block);
  friend std::string sha256_plainly(std::span<const uint8_t> bytes);
  explicit Sha256(Absorb absorb);

  Absorb absorb_;
  State state_;
  uint64_t count_ = 0;               // of bytes so far
  std::array<uint8_t, 64> block_{};  // its first count_ % 64 bytes wait for the others
};

std::string sha256(std::span<const uint8_t> bytes);
/// The same without the instructions that many processors have for it, for comparison.
std::string sha256_plainly(std::span<const uint8_t> bytes);

}  // namespace lux
