#include "luxgrad/data/image.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "luxgrad/data/bmp.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/foreign_image.h"
#include "luxgrad/data/jpeg.h"
#include "luxgrad/data/orientation.h"
#include "luxgrad/data/png.h"
#include "luxgrad/data/pnm.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

using enum FileErrorCode;
using namespace std::string_view_literals;

/// Bytes at a place in a file that give its kind away.
struct Signature {
  size_t offset;
  std::string_view bytes;
  const char* kind;
};

constexpr size_t kProfileColors = 16;  // where a profile says of what colours it is (ICC.1, 7.2.6)

constexpr Signature kOtherKinds[] = {
    {0, "GIF8"sv, "a GIF picture"},
    {8, "WEBP"sv, "a WebP picture"},
    {0, "II*\0"sv, "a TIFF or raw picture"},
    {0, "MM\0*"sv, "a TIFF or raw picture"},
    {4, "ftypavi"sv, "an AVIF picture"},
    {4, "ftyphei"sv, "a HEIC picture"},
    {4, "ftypmif"sv, "a HEIF picture"},
    {4, "ftyp"sv, "a video"},
    {0, "\xFF\x0A"sv, "a JPEG XL picture"},
    {4, "JXL "sv, "a JPEG XL picture"},
    {4, "jP  "sv, "a JPEG 2000 picture"},
    {0, "8BPS"sv, "a Photoshop picture"},
    {0, "\x76\x2F\x31\x01"sv, "an OpenEXR picture"},
    {0, "#?RADIANCE"sv, "a Radiance picture"},
    {0, "P7\n"sv, "a PAM picture"},
    {0, "PF\n"sv, "a PFM picture"},
    {0, "Pf\n"sv, "a PFM picture"},
    {0, "%PDF"sv, "a PDF document"},
    {0, "PK\x03\x04"sv, "a zip archive"},
};

bool has(std::span<const uint8_t> bytes, std::string_view text, size_t offset = 0) {
  return bytes.size() >= offset + text.size() &&
         std::memcmp(bytes.data() + offset, text.data(), text.size()) == 0;
}

Image read_any(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  if (has(bytes, "\x89PNG\r\n\x1A\n"sv)) return read_png(bytes, limits);
  if (has(bytes, "\xFF\xD8\xFF"sv)) return read_jpeg(bytes, limits);
  if (has(bytes, "BM"sv)) return read_bmp(bytes, limits);
  if (bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6')
    return read_pnm(bytes, limits);
  if (bytes.empty()) refuse(truncated, 0, "is empty");
  for (const Signature& other : kOtherKinds) {
    if (has(bytes, other.bytes, other.offset))
      refuse(unsupported, 0, "is ", other.kind, ", expected JPEG, PNG, BMP or PNM");
  }
  refuse(unsupported, 0, "is not a picture that can be read, expected JPEG, PNG, BMP or PNM");
}

int sample_at(const uint8_t* row, int64_t i, int bits) {
  if (bits == 8) return row[i];
  uint16_t sample;
  std::memcpy(&sample, row + 2 * i, 2);
  return sample;
}

void set_sample(uint8_t* row, int64_t i, int bits, int value) {
  if (bits == 8) {
    row[i] = static_cast<uint8_t>(value);
  } else {
    const auto sample = static_cast<uint16_t>(value);
    std::memcpy(row + 2 * i, &sample, 2);
  }
}

/// The picture with 8 bits per sample, rounded.
Image narrowed(const Image& image) {
  Image narrow;
  narrow.allocate(image.width, image.height, image.channels, 8);
  const int64_t count = image.width * image.channels;
  parallel_rows(kCpu, image.height, count, [&](const Team&, int64_t y) {
    for (int64_t i = 0; i < count; ++i)
      narrow.row(y)[i] = static_cast<uint8_t>((sample_at(image.row(y), i, 16) * 255 + 32767) / 65535);
  });
  narrow.exif = image.exif;
  narrow.icc = image.icc;
  return narrow;
}

/// Rounds `rows` into the colours of `image` from row `first` on; its alpha stays as it is.
void set_colors(Image& image, int64_t row, int64_t column, const Tensor& part) {
  const int64_t width = part.size(2), colors = part.size(3);
  const double full = image.max_value();
  const float* const values = part.data<float>();
  parallel_rows(kCpu, part.size(1), width * colors, [&](const Team&, int64_t y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < colors; ++c) {
        const double value = values[(y * width + x) * colors + c];
        const double clamped = value > 0 ? std::min(value, 1.0) : 0;  // NaN is 0
        // NOLINTNEXTLINE(bugprone-incorrect-roundings): never negative
        const auto sample = static_cast<int>(clamped * full + 0.5);
        set_sample(image.row(row + y), (column + x) * image.channels + c, image.bits, sample);
      }
    }
  });
}

Tensor checked_picture(const Tensor& picture) {
  const Shape& shape = picture.shape();
  check(
      shape.rank() == 4 && shape[0] == 1 && shape[1] > 0 && shape[2] > 0 && (shape[3] == 1 || shape[3] == 3),
      "from_tensor: expected [1, H, W, 3] or [1, H, W, 1], got ", shape);
  return picture.detach().to(DType::f32);
}

}  // namespace

void check_image_size(int64_t width, int64_t height, int64_t bytes_per_pixel, const ImageLimits& limits) {
  if (width <= 0 || height <= 0) refuse(malformed, -1, "declares ", width, " x ", height, " pixels");
  if (std::max(width, height) > limits.side)
    refuse(too_large, -1, "is ", width, " x ", height, " pixels, expected at most ", limits.side,
           " on a side");
  if (width * height > limits.pixels)
    refuse(too_large, -1, "is ", width, " x ", height, " pixels, expected at most ", limits.pixels,
           " in all");
  if (width * height > limits.decode_bytes / bytes_per_pixel)
    refuse(too_large, -1, "needs ", (width * height * bytes_per_pixel) >> 20, " MiB, expected at most ",
           limits.decode_bytes >> 20, " MiB");
}

void announce(const ImageLimits& limits, const Image& header, std::span<const uint8_t> file,
              int64_t working) {
  if (limits.admit == nullptr) return;
  const int orientation = exif_orientation(header.exif);
  const bool lies = orientation > 4;
  const int64_t bytes = header.height * static_cast<int64_t>(header.row_bytes());
  const int64_t second = orientation > 1 ? bytes : 0;  // while it is turned
  (*limits.admit)({.width = lies ? header.height : header.width,
                   .height = lies ? header.width : header.height,
                   .channels = header.channels,
                   .bits = header.bits,
                   .bytes = bytes,
                   .decoding = static_cast<int64_t>(file.size()) + bytes + std::max(working, second)});
}

void no_memory_for(int64_t width, int64_t height, int64_t bytes_per_pixel) {
  throw OutOfMemory(cat("no memory left for a picture of ", width, " x ", height,
                        " pixels, which needs at least ", width * height * bytes_per_pixel, " bytes"));
}

void Image::allocate(int64_t new_width, int64_t new_height, int new_channels, int new_bits) {
  width = new_width;
  height = new_height;
  channels = new_channels;
  bits = new_bits;
  try {
    samples.assign(static_cast<size_t>(height) * row_bytes(), 0);
  } catch (const std::bad_alloc&) {
    no_memory_for(width, height, static_cast<int64_t>(pixel_bytes()));
  }
}

Result<Image> decode_image(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  try {
    return attempt([&] { return upright(read_any(bytes, limits)); });
  } catch (const OutOfMemory&) {  // which says how large the picture is
    throw;
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("no memory left for the picture");
  }
}

std::optional<ImageFormat> image_format_of(const std::string& path) {
  constexpr std::pair<std::string_view, ImageFormat> kExtensions[] = {
      {".png", ImageFormat::png},   {".jpg", ImageFormat::jpeg},  {".jpeg", ImageFormat::jpeg},
      {".jpe", ImageFormat::jpeg},  {".bmp", ImageFormat::bmp},   {".dib", ImageFormat::bmp},
      {".ppm", ImageFormat::pnm},   {".pgm", ImageFormat::pnm},   {".pbm", ImageFormat::pnm},
      {".pnm", ImageFormat::pnm},   {".webp", ImageFormat::webp}, {".tif", ImageFormat::tiff},
      {".tiff", ImageFormat::tiff}, {".avif", ImageFormat::avif}, {".jxl", ImageFormat::jxl}};
  const size_t dot = path.find_last_of("./");
  if (dot == std::string::npos) return {};
  std::string extension = path.substr(dot);
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const auto& [name, format] : kExtensions) {
    if (extension == name) return format;
  }
  return {};
}

std::vector<uint8_t> encode_image(const Image& image, ImageFormat format, int quality) {
  check(image.width > 0 && image.height > 0 &&
            image.samples.size() == static_cast<size_t>(image.height) * image.row_bytes(),
        "encode_image: expected ", image.width, " x ", image.height, " pixels of ", image.pixel_bytes(),
        " bytes, got ", image.samples.size(), " bytes");
  const int64_t longest = std::max(image.width, image.height);
  switch (format) {
    case ImageFormat::png:
      return write_png(image);
    case ImageFormat::jpeg:
      check(longest <= 65535, "encode_image: expected at most 65535 pixels on a side of a JPEG, got ",
            longest);
      check(quality >= 1 && quality <= 100, "encode_image: expected a quality of 1 to 100, got ", quality);
      return image.bits == 8 ? write_jpeg(image, quality) : write_jpeg(narrowed(image), quality);
    case ImageFormat::bmp:
      return image.bits == 8 ? write_bmp(image) : write_bmp(narrowed(image));
    case ImageFormat::pnm:
      return write_pnm(image);
    default:
      break;
  }
  fail("encode_image: WebP, TIFF, AVIF and JPEG XL are written to files only");
}

Losses losses_of(const Image& image, ImageFormat format) {
  using enum ImageFormat;
  const bool keeps_profile = format == png || format == jpeg || format == webp;
  const bool drops_alpha = format == jpeg || format == pnm || format == avif;
  return {.profile = !image.icc.empty() && !keeps_profile, .alpha = image.has_alpha() && drops_alpha};
}

Image load_image(const std::string& path, const ImageLimits& limits) try {
  const std::vector<uint8_t> bytes = read_file(path, limits.decode_bytes).value();
  if (const auto foreign = foreign_format_of(bytes); foreign && path != "-")
    return read_foreign_image(path, bytes, *foreign, limits).value();
  return decode_image(bytes, limits).in_file(path).value();
} catch (const OutOfMemory& error) {
  const std::string text = error.what();  // what ffmpeg lacked names the file already
  throw OutOfMemory(text.starts_with(path) ? text : cat(path, ": ", text));
} catch (const std::bad_alloc&) {
  throw OutOfMemory(cat(path, ": no memory left for the file"));
}

void save_image(const std::string& path, const Image& image, const SaveOptions& options) {
  const auto format = options.format ? options.format : image_format_of(path);
  if (!format)
    throw FileException(
        {unwritable, path, -1, "has no extension of a picture, expected .png, .jpg, .bmp or .ppm"});
  if (is_foreign(*format)) {
    (void)write_foreign_image(path, image, *format, options.quality).value();
    return;
  }
  write_file_atomically(path, encode_image(image, *format, options.quality)).value();
}

Tensor to_tensor(const Image& image) {
  Tensor picture = empty({1, image.height, image.width, 3});
  to_rows(image, 0, picture);
  return picture;
}

void to_rows(const Image& image, int64_t first, const Tensor& rows) {
  const Shape& s = rows.shape();
  check(rows.dtype() == DType::f32 && s.rank() == 4 && s[0] == 1 && s[2] == image.width && s[3] == 3 &&
            first >= 0 && s[1] <= image.height - first,
        "to_rows: expected rows [1, n, ", image.width, ", 3] of f32 inside of ", image.height, " from ",
        first, " on, got ", s);
  float* const values = rows.data<float>();
  const auto full = static_cast<float>(image.max_value());
  const int64_t next_color = image.colors() == 3 ? 1 : 0;
  parallel_rows(kCpu, rows.size(1), image.width * 3, [&](const Team&, int64_t y) {
    for (int64_t x = 0; x < image.width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const int sample = sample_at(image.row(first + y), x * image.channels + c * next_color, image.bits);
        values[(y * image.width + x) * 3 + c] = static_cast<float>(sample) / full;
      }
    }
  });
}

Image from_tensor(const Tensor& picture, int bits) {
  check(bits == 8 || bits == 16, "from_tensor: expected 8 or 16 bits, got ", bits);
  const Tensor values = checked_picture(picture);
  Image image;
  image.allocate(values.size(2), values.size(1), static_cast<int>(values.size(3)), bits);
  set_colors(image, 0, 0, values);
  return image;
}

namespace {

// The size, bits, alpha and what else `like` carries, without colours.
Image like_in(int colors, const Image& like) {
  Image image;
  image.allocate(like.width, like.height, colors + (like.has_alpha() ? 1 : 0), like.bits);
  for (int64_t y = 0; y < like.height && like.has_alpha(); ++y) {
    for (int64_t x = 1; x <= like.width; ++x)
      set_sample(image.row(y), x * image.channels - 1, like.bits,
                 sample_at(like.row(y), x * like.channels - 1, like.bits));
  }
  image.exif = like.exif;
  // Gray photos with a profile for colours were colours once; the curves of that are those of their gray.
  if (colors == like.colors() || (colors == 3 && has(like.icc, "RGB "sv, kProfileColors)))
    image.icc = like.icc;
  return image;
}

}  // namespace

Image from_tensor(const Tensor& picture, const Image& like) {
  const Tensor values = checked_picture(picture);
  check(values.size(1) == like.height && values.size(2) == like.width, "from_tensor: expected ", like.width,
        " x ", like.height, " pixels, got ", values.size(2), " x ", values.size(1));
  Image image = like_in(static_cast<int>(values.size(3)), like);
  set_colors(image, 0, 0, values);
  return image;
}

Image blank_like(const Image& like) { return like_in(3, like); }

void from_part(const Tensor& part, int64_t row, int64_t column, Image& image) {
  const Shape& s = part.shape();
  check(part.dtype() == DType::f32 && s.rank() == 4 && s[0] == 1 && s[3] == 3 && row >= 0 && column >= 0 &&
            s[1] <= image.height - row && s[2] <= image.width - column,
        "from_part: expected a part [1, n, m, 3] of f32 inside of ", image.width, " x ", image.height,
        " pixels from row ", row, " and column ", column, " on, got ", s);
  set_colors(image, row, column, part);
}

void put_colors(const void* samples, Image& image) {
  check(image.colors() == 3, "put_colors: expected a picture in colours, got gray");
  const size_t sample = static_cast<size_t>(image.bits) / 8, pixel = 3 * sample;
  const auto* const from = static_cast<const uint8_t*>(samples);
  parallel_rows(kCpu, image.height, image.width * 3, [&](const Team&, int64_t y) {
    const uint8_t* const colors = from + static_cast<size_t>(y * image.width) * pixel;
    uint8_t* const row = image.row(y);
    if (!image.has_alpha()) {
      std::memcpy(row, colors, image.row_bytes());
      return;
    }
    for (size_t x = 0; x < static_cast<size_t>(image.width); ++x)
      std::memcpy(row + x * image.pixel_bytes(), colors + x * pixel, pixel);
  });
}

}  // namespace lux
