#include "luxgrad/data/foreign_image.h"

#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>

#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/child.h"
#include "luxgrad/data/ffmpeg.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/png.h"

namespace lux {
namespace {

using namespace ffmpeg;
using namespace std::string_view_literals;
using enum FileErrorCode;

constexpr int64_t kReadSeconds = 120;

struct Foreign {
  ImageFormat format;
  const char* demuxer;
  size_t offset;           // of the signature
  std::string_view bytes;  // that a file has there
};
constexpr Foreign kForeign[] = {
    {ImageFormat::webp, "webp_pipe", 8, "WEBP"sv},  {ImageFormat::tiff, "tiff_pipe", 0, "II*\0"sv},
    {ImageFormat::tiff, "tiff_pipe", 0, "MM\0*"sv}, {ImageFormat::avif, "mov", 4, "ftypavif"sv},
    {ImageFormat::avif, "mov", 4, "ftypmif1"sv},    {ImageFormat::jxl, "jpegxl_pipe", 0, "\xFF\x0A"sv},
    {ImageFormat::jxl, "jpegxl_pipe", 4, "JXL "sv},
};

std::string fixed_tenths(int tenths) { return cat(tenths / 10, ".", tenths % 10); }

/// The encoder and its options for a quality of 1 to 100.
Words encoder_words(ImageFormat format, int quality) {
  // AV1's scale of 63 to 0, from coarse to fine.
  const std::string crf = std::to_string(63 - 63 * quality / 100);
  switch (format) {
    case ImageFormat::webp:
      return {"-c:v", "libwebp", "-lossless", quality == 100 ? "1" : "0", "-quality", std::to_string(quality),
              "-f",   "webp"};
    case ImageFormat::avif:
      return {"-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "6",
              "-crf", crf,          "-b:v",           "0", "-f",        "avif"};
    case ImageFormat::jxl:
      // The distance is 0 where nothing is lost, 1 where nobody sees it.
      return {"-c:v", "libjxl", "-distance", fixed_tenths(100 - quality), "-f", "image2pipe"};
    default:
      return {"-c:v", "tiff", "-compression_algo", "deflate", "-f", "image2pipe"};
  }
}

}  // namespace

bool is_foreign(ImageFormat format) {
  for (const Foreign& foreign : kForeign) {
    if (foreign.format == format) return true;
  }
  return false;
}

std::optional<ImageFormat> foreign_format_of(std::span<const uint8_t> bytes) {
  for (const Foreign& foreign : kForeign) {
    const size_t end = foreign.offset + foreign.bytes.size();
    if (bytes.size() >= end &&
        std::memcmp(bytes.data() + foreign.offset, foreign.bytes.data(), foreign.bytes.size()) == 0)
      return foreign.format;
  }
  return {};
}

Result<Image> read_foreign_image(const std::string& path, ImageFormat format, const ImageLimits& limits) {
  const char* demuxer = "";
  for (const Foreign& foreign : kForeign) {
    if (foreign.format == format) demuxer = foreign.demuxer;
  }
  const ChildSpec spec{.arguments = {"ffmpeg",
                                     "-hide_banner",
                                     "-nostdin",
                                     "-v",
                                     "error",
                                     "-max_pixels",
                                     std::to_string(limits.pixels),
                                     "-threads",
                                     "2",
                                     "-protocol_whitelist",
                                     "file",
                                     "-f",
                                     demuxer,
                                     "-i",
                                     cat("file:", path),
                                     "-frames:v",
                                     "1",
                                     "-c:v",
                                     "png",
                                     "-compression_level",
                                     "1",
                                     "-f",
                                     "image2pipe",
                                     "pipe:1"},
                       .output = true,
                       .memory_bytes = kMemory,
                       .cpu_seconds = kReadSeconds};
  Result<Child> child = Child::start(spec);
  if (!child) return needs_program(path, child.error());
  std::vector<uint8_t> png;
  std::array<uint8_t, 65536> part{};
  for (ssize_t got = 1; got > 0 && static_cast<int64_t>(png.size()) <= limits.decode_bytes;) {
    got = read(child->output(), part.data(), part.size());
    if (got > 0) png.insert(png.end(), part.begin(), part.begin() + got);
  }
  if (static_cast<int64_t>(png.size()) > limits.decode_bytes)
    return FileError{too_large, path, -1, "is too large"};
  const int code = child->wait();
  // A picture that is damaged is decoded as far as it goes, with a complaint.
  if (code != 0 || child->complaints() > 0 || png.empty())
    return refused(path, child->first_complaint(), "a picture");
  return decode_image(png, limits).in_file(path);
}

Result<int64_t> write_foreign_image(const std::string& path, const Image& image, ImageFormat format,
                                    int quality) {
  Result<NewFile> file = NewFile::create(path);
  if (!file) return file.error();
  Words words = {"ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", "-f", "png_pipe", "-i", "pipe:0"};
  add(words, encoder_words(format, quality));
  words.push_back(cat("file:", file->temporary()));
  Result<Child> child = Child::start({.arguments = words, .input = true});
  if (!child) return needs_program(path, child.error());
  const Result<bool> sent = write_bytes(child->input(), write_png(image));
  child->close_input();
  if (child->wait() != 0 || !sent) {
    return FileError{unwritable, path, -1, cat("cannot be encoded: ", child->first_complaint())};
  }
  const auto bytes = static_cast<int64_t>(lseek(file->descriptor(), 0, SEEK_END));
  const Result<bool> kept = file->keep();
  if (!kept) return kept.error();
  return bytes;
}

}  // namespace lux
