// EXIF orientation: where the tag stands in the TIFF block, and turning a picture upright by it.
#pragma once

#include <cstdint>
#include <span>

#include "luxgrad/data/image.h"

namespace lux {

/// The orientation 1..8 that a TIFF block asks for; 1 where it has none or is damaged.
int exif_orientation(std::span<const uint8_t> tiff);

/// Sets that tag to 1 and leaves every other byte as it is.
void reset_exif_orientation(std::span<uint8_t> tiff);

/// Turns and mirrors `image` as one is that asks for this orientation: 2 mirrors it, 6 and 8 turn it
/// clockwise and counterclockwise. Its EXIF bytes stay as they are.
Image oriented(Image image, int orientation);

/// The same by the orientation in its EXIF bytes, and resets that.
Image upright(Image image);

}  // namespace lux
