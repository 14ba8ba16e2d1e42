// What a picture may cost before it is refused. Headers are checked against these limits before anything is
// allocated.
#pragma once

#include <cstdint>
#include <span>

#include "luxgrad/tensor/function_ref.h"

namespace lux {

struct Image;

/// What a picture will be and take, as its header has it.
struct ImageCost {
  int64_t width = 0, height = 0;  ///< when it is upright
  int channels = 0, bits = 0;     ///< as those of an Image
  int64_t bytes = 0;              ///< of its samples
  int64_t decoding = 0;  ///< the most at once until it is there: file, samples, what the reader keeps
  bool operator==(const ImageCost&) const = default;
};

/// Told of a picture once its header is found sound, before there is memory for its pixels. It may wait, and
/// leave by an exception, which passes through the reader.
using ImageAdmission = FunctionRef<void(const ImageCost&)>;

struct ImageLimits {
  int64_t pixels = int64_t{64} << 20;         ///< width x height
  int64_t side = 16384;                       ///< width or height
  int64_t decode_bytes = int64_t{512} << 20;  ///< memory of one decode, and size of the file
  int progressive_scans = 100;                ///< passes over a progressive JPEG
  const ImageAdmission* admit = nullptr;      ///< outlives the reading
};

/// Tells `limits.admit` of the picture that `header` describes but for its samples, whose file is in memory.
/// `working`: what the reader keeps beside the samples.
void announce(const ImageLimits& limits, const Image& header, std::span<const uint8_t> file, int64_t working);

/// Refuses an empty picture, one beyond the limits, and one that needs more than `limits.decode_bytes`.
/// Sizes may be any value that a header can hold.
void check_image_size(int64_t width, int64_t height, int64_t bytes_per_pixel, const ImageLimits& limits);

/// Throws OutOfMemory that says what a picture of this size needs.
[[noreturn]] void no_memory_for(int64_t width, int64_t height, int64_t bytes_per_pixel);

}  // namespace lux
