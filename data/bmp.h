// Windows and OS/2 bitmaps without compression: 1 to 8 bits with a palette, 16 to 32 bits with any masks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "luxgrad/data/image.h"

namespace lux {

/// RGB, or RGBA where the file has alpha, of 8 bits. Leaves by `refuse`.
Image read_bmp(std::span<const uint8_t> bytes, const ImageLimits& limits);

/// 24 bits, or 32 with alpha. `image` has 8 bits per sample.
std::vector<uint8_t> write_bmp(const Image& image);

}  // namespace lux
