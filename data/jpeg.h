// JPEG: stb decodes the pixels, after a walk over all segments has shown that the file is whole, that its
// tables are sound, and that it has enough data for the size it declares.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "luxgrad/data/image.h"

namespace lux {

/// Application segments and the names that their bytes begin with.
inline constexpr uint8_t kJpegExif = 0xE1, kJpegIcc = 0xE2;
inline constexpr std::string_view kJpegExifName{"Exif\0\0", 6};
inline constexpr std::string_view kJpegIccName{"ICC_PROFILE\0", 12};

/// Gray or RGB of 8 bits; `exif` and `icc` as stored. Leaves by `refuse`.
Image read_jpeg(std::span<const uint8_t> bytes, const ImageLimits& limits);

/// RGB; chroma is halved for a quality of 90 or less. `image` has 8 bits per sample, alpha is left out.
std::vector<uint8_t> write_jpeg(const Image& image, int quality);

}  // namespace lux
