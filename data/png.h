// PNG: all colour types, depths and interlacing, on zlib's inflate and deflate. Every chunk's CRC is checked,
// and the inflated data must be exactly as long as the header says.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "luxgrad/data/image.h"

namespace lux {

/// Palettes and transparent colours become RGB and alpha, depths below 8 become 8. `exif` and `icc` as
/// stored. Leaves by `refuse`.
Image read_png(std::span<const uint8_t> bytes, const ImageLimits& limits);

/// `notes`: with EXIF and the profile.
std::vector<uint8_t> write_png(const Image& image, bool notes = true);

/// Predicts a byte from its neighbours: the one nearest to left + above - corner (PNG specification, 9.4).
inline int paeth(int left, int above, int corner) {
  const int to_left = std::abs(above - corner), to_above = std::abs(left - corner);
  const int to_corner = std::abs(left + above - 2 * corner);
  if (to_left <= to_above && to_left <= to_corner) return left;
  return to_above <= to_corner ? above : corner;
}

}  // namespace lux
