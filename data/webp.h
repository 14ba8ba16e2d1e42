// What stands in a WebP file beside its picture, which ffmpeg neither reads nor writes: EXIF and the colour
// profile. The file is RIFF chunks (WebP Container Specification, developers.google.com/speed/webp): `VP8X`
// says what there is, `ICCP` stands before the picture, `EXIF` behind it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "luxgrad/data/image.h"

namespace lux {

struct WebpNotes {
  std::vector<uint8_t> exif, icc;  ///< as `Image` has them; empty where there are none
};

/// Those of a file. What follows its declared end is passed over. Refuses what is no WebP, a file that ends
/// before a chunk does, and one without a picture.
WebpNotes read_webp_notes(std::span<const uint8_t> file);

/// Whether the file says at its begin that it holds more than one picture.
bool is_webp_animation(std::span<const uint8_t> file);

/// The WebP file `plain` of the picture `image` with the EXIF and profile of that. Refuses as
/// `read_webp_notes`.
std::vector<uint8_t> with_webp_notes(std::span<const uint8_t> plain, const Image& image);

}  // namespace lux
