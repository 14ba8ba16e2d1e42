#include "luxgrad/data/webp.h"

#include <algorithm>
#include <string_view>

#include "luxgrad/data/byte_reader.h"

namespace lux {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kHead = 12;  // RIFF, the size, WEBP
constexpr uint8_t kHasExif = 8, kHasAlpha = 16, kHasIcc = 32;
constexpr std::string_view kExifName{"Exif\0\0", 6};  // some writers put JPEG's name before the block

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Calls `use(name, content)` for every whole chunk.
template <class Use>
void each_chunk(Bytes file, Use&& use) {
  ByteReader reader(file);
  reader.take(std::min(kHead, file.size()), "the header");
  while (reader.remaining() >= 8) {
    const std::string_view name = text_of(reader.take(4, "a chunk"));
    const size_t size = little32(reader.take(4, "a chunk").data());
    if (size > reader.remaining()) return;
    use(name, reader.take(size, "a chunk"));
    reader.take(std::min(size % 2, reader.remaining()), "a chunk");  // chunks begin at even places
  }
}

void append_chunk(std::vector<uint8_t>& file, std::string_view name, Bytes content) {
  file.insert(file.end(), name.begin(), name.end());
  append_little32(file, static_cast<uint32_t>(content.size()));
  file.insert(file.end(), content.begin(), content.end());
  if (content.size() % 2 != 0) file.push_back(0);
}

void append_little24(std::vector<uint8_t>& bytes, int64_t value) {
  for (int shift = 0; shift < 24; shift += 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
}

}  // namespace

WebpNotes read_webp_notes(Bytes file) {
  WebpNotes notes;
  each_chunk(file, [&](std::string_view name, Bytes content) {
    if (name == "ICCP") notes.icc.assign(content.begin(), content.end());
    if (name != "EXIF") return;
    const size_t begin = text_of(content).starts_with(kExifName) ? kExifName.size() : 0;
    notes.exif.assign(content.begin() + static_cast<int64_t>(begin), content.end());
  });
  return notes;
}

std::vector<uint8_t> with_webp_notes(Bytes plain, const Image& image) {
  if (plain.size() < kHead || text_of(plain.subspan(8, 4)) != "WEBP")
    refuse(FileErrorCode::malformed, 0, "is no WebP file");
  std::vector<uint8_t> facts = {static_cast<uint8_t>((image.icc.empty() ? 0 : kHasIcc) |
                                                     (image.has_alpha() ? kHasAlpha : 0) |
                                                     (image.exif.empty() ? 0 : kHasExif))};
  append_little24(facts, 0);  // reserved
  append_little24(facts, image.width - 1);
  append_little24(facts, image.height - 1);

  std::vector<uint8_t> file(plain.begin(), plain.begin() + kHead);
  append_chunk(file, "VP8X", facts);
  if (!image.icc.empty()) append_chunk(file, "ICCP", image.icc);
  each_chunk(plain, [&](std::string_view name, Bytes content) {
    if (name != "VP8X" && name != "ICCP" && name != "EXIF") append_chunk(file, name, content);
  });
  if (!image.exif.empty()) append_chunk(file, "EXIF", image.exif);
  std::vector<uint8_t> size;
  append_little32(size, static_cast<uint32_t>(file.size() - 8));
  std::copy(size.begin(), size.end(), file.begin() + 4);
  return file;
}

}  // namespace lux
