#include "luxgrad/data/foreign_image.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/child.h"
#include "luxgrad/data/ffmpeg.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/orientation.h"
#include "luxgrad/data/png.h"
#include "luxgrad/data/webp.h"

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

/// The picture with what the file says of it, upright.
Image with_notes(Image image, std::span<const uint8_t> file, ImageFormat format) {
  if (format == ImageFormat::webp) {
    WebpNotes notes = read_webp_notes(file);
    image.exif = std::move(notes.exif);
    image.icc = std::move(notes.icc);
  } else if (format == ImageFormat::tiff) {
    image.exif.assign(file.begin(), file.end());  // a TIFF file is what EXIF is made of
    image = upright(std::move(image));
    image.exif.clear();
  }
  return upright(std::move(image));
}

int orientation_of(std::span<const uint8_t> file, ImageFormat format) {
  if (format == ImageFormat::webp) return exif_orientation(read_webp_notes(file).exif);
  return format == ImageFormat::tiff ? exif_orientation(file) : 1;
}

/// What comes from a descriptor until its end; of more than `most` bytes, more than `most`.
std::vector<uint8_t> bytes_from(int descriptor, int64_t most) {
  std::vector<uint8_t> bytes;
  std::array<uint8_t, 65536> part{};
  for (ssize_t got = 1; got > 0 && static_cast<int64_t>(bytes.size()) <= most;) {
    got = read(descriptor, part.data(), part.size());
    if (got > 0) bytes.insert(bytes.end(), part.begin(), part.begin() + got);
  }
  return bytes;
}

/// A file without a name or a disk, for what the child encodes. A pipe would not do: AVIF tells at its begin
/// where its parts are, so that its writer goes back there. A file beside the result would not, either: the
/// child does not fail on a full disk, and makes the file anew after whoever is stopped has removed it.
struct MemoryFile {
  static constexpr const char* kNameInChild = "file:/proc/self/fd/1";  // as its standard output
  int descriptor = memfd_create("picture", MFD_CLOEXEC);
  MemoryFile() = default;
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() {
    if (descriptor >= 0) close(descriptor);
  }
};

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

Result<Image> read_foreign_image(const std::string& path, std::span<const uint8_t> bytes, ImageFormat format,
                                 const ImageLimits& limits) {
  if (format == ImageFormat::webp && is_webp_animation(bytes))
    return FileError{unsupported, path, -1, "is an animation, expected one picture"};
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
                                     "-noautorotate",
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
  Result<Child> child = start(path, spec);
  if (!child) return child.error();
  const std::vector<uint8_t> png = bytes_from(child->output(), limits.decode_bytes);
  if (static_cast<int64_t>(png.size()) > limits.decode_bytes)
    return FileError{too_large, path, -1, "is too large"};
  const int code = child->wait();
  // A picture that is damaged is decoded as far as it goes, with a complaint.
  if (code != 0 || child->complaints() > 0 || png.empty())
    return refused(path, complaint_of(*child), "a picture");
  // Who is told of the PNG hears of both files, and of the picture as it will lie in the end.
  const auto told = [&](ImageCost cost) {
    const int orientation = orientation_of(bytes, format);
    if (orientation > 4) std::swap(cost.width, cost.height);
    cost.decoding += static_cast<int64_t>(bytes.size()) + (orientation > 1 ? cost.bytes : 0);
    (*limits.admit)(cost);
  };
  const ImageAdmission admit = told;
  ImageLimits of_png = limits;
  if (limits.admit != nullptr) of_png.admit = &admit;
  return attempt([&] { return with_notes(decode_image(png, of_png).value(), bytes, format); }).in_file(path);
}

Result<int64_t> write_foreign_image(const std::string& path, const Image& image, ImageFormat format,
                                    int quality) {
  if (const Result<bool> free = replaceable(path); !free) return free.error();  // before the work
  const auto failed = [&](const std::string& reason) { return FileError{unwritable, path, -1, reason}; };
  const MemoryFile file;
  if (file.descriptor < 0) return failed(cat("cannot be encoded in memory: ", std::strerror(errno)));
  Words words = {"ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", "-f", "png_pipe", "-i", "pipe:0"};
  add(words, encoder_words(format, quality));
  words.emplace_back(MemoryFile::kNameInChild);
  Result<Child> child = start(path, {.arguments = words, .input = true, .output_file = file.descriptor});
  if (!child) return child.error();
  // No notes: JPEG XL's encoder fails where it is told the colours twice, by the pixels and by a profile.
  const Result<bool> sent = write_bytes(child->input(), write_png(image, false));
  child->close_input();
  const int code = child->wait();
  // ffmpeg's exit code is 0 where its last bytes were not taken; but it says so.
  if (code != 0 || !sent || child->complaints() > 0) return not_encoded(path, *child, code);
  std::vector<uint8_t> bytes = bytes_from(file.descriptor, kMaxFileBytes);
  if (bytes.empty()) return failed("cannot be encoded: ffmpeg wrote nothing");
  if (format == ImageFormat::webp && !(image.exif.empty() && image.icc.empty())) {
    auto noted = attempt([&] { return with_webp_notes(bytes, image); });
    if (!noted) return failed(noted.error().reason);
    bytes = std::move(*noted);
  }
  return write_file_atomically(path, bytes);
}

}  // namespace lux
