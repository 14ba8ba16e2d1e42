// Netpbm's plain formats P1 to P6: bitmaps, gray and RGB, as text or bytes, up to 16 bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "luxgrad/data/image.h"

namespace lux {

/// Samples are scaled from the file's maximum to 255, or to 65535 where the maximum is above 255. Leaves by
/// `refuse`.
Image read_pnm(std::span<const uint8_t> bytes, const ImageLimits& limits);

/// P5 or P6; alpha is left out.
std::vector<uint8_t> write_pnm(const Image& image);

}  // namespace lux
