// Pictures: from the bytes of a JPEG, PNG, BMP or PNM file to a Tensor, and back.
//
// Bytes are hostile until proven otherwise. Each format's reader checks the header, then the limits, then
// that the file is whole, and only then allocates; whatever is wrong comes back as one sentence.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "luxgrad/data/image_limits.h"
#include "luxgrad/data/result.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// A picture as files hold it: upright, rows from the top, samples of a pixel side by side, values
/// display-referred (sRGB, or what `icc` says).
struct Image {
  int64_t width = 0, height = 0;
  int channels = 3;                ///< 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha
  int bits = 8;                    ///< per sample: 8 or 16
  std::vector<uint8_t> samples{};  ///< height·width·channels; those of 16 bits in the machine's byte order
  std::vector<uint8_t> exif{};     ///< a TIFF block, its orientation applied and reset to 1; empty if none
  std::vector<uint8_t> icc{};      ///< the colour profile; empty if none

  bool has_alpha() const { return channels % 2 == 0; }
  int colors() const { return channels < 3 ? 1 : 3; }
  int max_value() const { return (1 << bits) - 1; }
  size_t pixel_bytes() const { return static_cast<size_t>(channels * bits / 8); }
  size_t row_bytes() const { return static_cast<size_t>(width) * pixel_bytes(); }
  uint8_t* row(int64_t y) { return samples.data() + static_cast<size_t>(y) * row_bytes(); }
  const uint8_t* row(int64_t y) const { return samples.data() + static_cast<size_t>(y) * row_bytes(); }
  /// Sets the sizes and makes all samples 0.
  void allocate(int64_t new_width, int64_t new_height, int new_channels, int new_bits);
};

/// The picture in `bytes`, its format found by content. Throws OutOfMemory when the system has none left.
Result<Image> decode_image(std::span<const uint8_t> bytes, const ImageLimits& limits = {});

enum class ImageFormat : uint8_t { png, jpeg, bmp, pnm, webp, tiff, avif, jxl };

/// The format that a file name asks for by its extension (.png .jpg .jpeg .jpe .bmp .dib .ppm .pgm .pnm .webp
/// .tif .tiff .avif .jxl).
std::optional<ImageFormat> image_format_of(const std::string& path);

/// The bytes of a file. PNG keeps everything. JPEG (quality 1..100) and PNM drop alpha, BMP and PNM drop EXIF
/// and ICC, and JPEG and BMP round 16 bits to 8. EXIF beyond the 64 KiB of a JPEG segment is dropped there.
/// Throws Error for sizes that the format cannot hold, for a quality out of range, and for the other formats,
/// which are made in files only.
std::vector<uint8_t> encode_image(const Image& image, ImageFormat format, int quality = 95);

/// What a file of a format has no place for, of what decides how a picture looks.
struct Losses {
  bool profile = false, alpha = false;
};
Losses losses_of(const Image& image, ImageFormat format);

/// `decode_image` of a file, or of standard input for "-"; a file of another format is read by a child
/// `ffmpeg` (data/foreign_image.h). Throws FileException, and OutOfMemory that names the file.
Image load_image(const std::string& path, const ImageLimits& limits = {});

struct SaveOptions {
  std::optional<ImageFormat> format;  ///< none: by the extension
  int quality = 95;                   ///< of JPEG and the formats that ffmpeg writes
};

/// Writes the file at once or not at all. Throws FileException.
void save_image(const std::string& path, const Image& image, const SaveOptions& options = {});

/// Colours as [1, H, W, 3] f32 in [0, 1], gray replicated, alpha left out.
Tensor to_tensor(const Image& image);

/// The same for the rows from `first` on, as many as `rows` [1, n, W, 3] of f32 has room for.
void to_rows(const Image& image, int64_t first, const Tensor& rows);

/// The picture of a [1, H, W, 3] (or [1, H, W, 1]) tensor: values clamped to [0, 1] (NaN is 0) and rounded to
/// the nearest of `bits` (8 or 16) bits. Throws Error for another shape.
Image from_tensor(const Tensor& picture, int bits = 8);

/// The same with the bits, alpha, EXIF and ICC of `like`, which must have the same size; a profile for gray
/// is not carried over to colours, one for red, green and blue is.
Image from_tensor(const Tensor& picture, const Image& like);

/// A picture of the size, bits, alpha, EXIF and ICC of `like`, in colours, which `from_part` fills: rounds
/// `part` [1, n, m, 3] of f32 into the pixels from `row` and `column` on.
Image blank_like(const Image& like);
void from_part(const Tensor& part, int64_t row, int64_t column, Image& image);

/// The same for colours that are samples already: height·width·3 of them, of the picture's bits.
void put_colors(const void* samples, Image& image);

}  // namespace lux
