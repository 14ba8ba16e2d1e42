// Pictures in formats that luxgrad does not read itself, WebP, TIFF, AVIF and JPEG XL, through a child
// `ffmpeg`, to and from which they pass as PNG. Where ffmpeg is missing, the error says so in a sentence.
#pragma once

#include "luxgrad/data/image.h"

namespace lux {

/// Whether the format needs ffmpeg.
bool is_foreign(ImageFormat format);

/// The foreign format that the first bytes of a file give away.
std::optional<ImageFormat> foreign_format_of(std::span<const uint8_t> bytes);

/// The picture in the file `path` of a foreign format, which holds `bytes`: upright by the orientation that
/// WebP and TIFF tell. Alpha and 16 bits are kept; EXIF of WebP is; the profile of WebP is, that of the
/// others as far as ffmpeg reads it.
Result<Image> read_foreign_image(const std::string& path, std::span<const uint8_t> bytes, ImageFormat format,
                                 const ImageLimits& limits = {});

/// Writes the file at once or not at all. Quality 1..100; 100 is without loss in WebP and JPEG XL; TIFF
/// always is. EXIF and the profile are written to WebP only.
Result<int64_t> write_foreign_image(const std::string& path, const Image& image, ImageFormat format,
                                    int quality);

}  // namespace lux
