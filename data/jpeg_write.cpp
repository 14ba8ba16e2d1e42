// Lets stb write the picture, and puts EXIF and colour profile between its segments.
#include <algorithm>
#include <array>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/jpeg.h"
#include "luxgrad/data/stb.h"

namespace lux {
namespace {

constexpr size_t kSegmentBytes = 65533;  // of payload

void append_segment(std::vector<uint8_t>& bytes, uint8_t marker,
                    std::initializer_list<std::span<const uint8_t>> parts) {
  size_t length = 2;
  for (const auto& part : parts) length += part.size();
  for (const size_t byte : {size_t{0xFF}, size_t{marker}, length >> 8, length & 255})
    bytes.push_back(static_cast<uint8_t>(byte));
  for (const auto& part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
}

}  // namespace

std::vector<uint8_t> write_jpeg(const Image& image, int quality) {
  const std::vector<uint8_t> plain =
      stb_write_jpeg(static_cast<int>(image.width), static_cast<int>(image.height), image.channels,
                     image.samples.data(), quality);
  // EXIF and ICC go behind the start marker and stb's JFIF segment, whose length is in bytes 4 and 5.
  const size_t head = 4 + size_t{big16(plain.data() + 4)};
  std::vector<uint8_t> bytes(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(head));
  if (!image.exif.empty() && image.exif.size() + kJpegExifName.size() <= kSegmentBytes)
    append_segment(bytes, kJpegExif, {bytes_of(kJpegExifName), image.exif});
  const size_t part_bytes = kSegmentBytes - kJpegIccName.size() - 2;
  const size_t parts = (image.icc.size() + part_bytes - 1) / part_bytes;
  for (size_t i = 0; i < parts && parts <= 255; ++i) {
    const std::array<uint8_t, 2> number = {static_cast<uint8_t>(i + 1), static_cast<uint8_t>(parts)};
    const std::span<const uint8_t> rest = std::span(image.icc).subspan(i * part_bytes);
    append_segment(bytes, kJpegIcc,
                   {bytes_of(kJpegIccName), number, rest.first(std::min(part_bytes, rest.size()))});
  }
  bytes.insert(bytes.end(), plain.begin() + static_cast<std::ptrdiff_t>(head), plain.end());
  return bytes;
}

}  // namespace lux
