// SHA-256 (FIPS 180-4): tells whether a file is what was written.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace lux {

/// The digest as 64 lower-case hexadecimal digits.
std::string sha256(std::span<const uint8_t> bytes);
/// The same without the instructions that many processors have for it, for comparison.
std::string sha256_plainly(std::span<const uint8_t> bytes);

}  // namespace lux
