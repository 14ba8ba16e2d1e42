// The door to stb_image and stb_image_write, which do the arithmetic of JPEG.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lux {

/// Pixels of a JPEG whose structure has been checked: gray for one component, RGB for three. Refuses what stb
/// refuses, and more than `max_bytes` of memory.
std::vector<uint8_t> stb_read_jpeg(std::span<const uint8_t> bytes, int64_t max_bytes);

/// `samples` has 1 to 4 interleaved channels; the second of two and the fourth are ignored.
std::vector<uint8_t> stb_write_jpeg(int width, int height, int channels, const uint8_t* samples, int quality);

}  // namespace lux
