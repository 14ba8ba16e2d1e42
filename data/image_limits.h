// What a picture may cost before it is refused. Headers are checked against these limits before anything is
// allocated.
#pragma once

#include <cstdint>

namespace lux {

struct ImageLimits {
  int64_t pixels = int64_t{64} << 20;         ///< width x height
  int64_t side = 16384;                       ///< width or height
  int64_t decode_bytes = int64_t{512} << 20;  ///< memory of one decode, and size of the file
  int progressive_scans = 100;                ///< passes over a progressive JPEG
};

/// Refuses an empty picture, one beyond the limits, and one that needs more than `limits.decode_bytes`.
/// Sizes may be any value that a header can hold.
void check_image_size(int64_t width, int64_t height, int64_t bytes_per_pixel, const ImageLimits& limits);

/// Throws OutOfMemory that says what a picture of this size needs.
[[noreturn]] void no_memory_for(int64_t width, int64_t height, int64_t bytes_per_pixel);

}  // namespace lux
