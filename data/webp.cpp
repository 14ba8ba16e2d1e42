#include "luxgrad/data/webp.h"

#include <algorithm>
#include <string_view>

#include "luxgrad/data/byte_reader.h"

namespace lux {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kHead = 12;  // RIFF, the size, WEBP
constexpr uint8_t kIsAnimation = 2, kHasExif = 8, kHasAlpha = 16, kHasIcc = 32;
constexpr std::string_view kExifName{"Exif\0\0", 6};  // some writers put JPEG's name before the block

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Calls `use(name, content)` for every chunk. Refuses as `read_webp_notes`.
template <class Use>
void each_chunk(Bytes file, Use&& use) {
  if (file.size() < kHead || !text_of(file).starts_with("RIFF") || text_of(file.subspan(8, 4)) != "WEBP")
    refuse(FileErrorCode::malformed, 0, "is no WebP file");
  const size_t end = size_t{8} + little32(file.data() + 4);
  if (end > file.size())
    refuse(FileErrorCode::truncated, 4, "has ", file.size(), " bytes, and its header says ", end);
  ByteReader reader(file.first(std::max(end, kHead)));
  reader.take(kHead, "the header");
  bool picture = false;
  while (reader.remaining() > 0) {
    const std::string_view name = text_of(reader.take(4, "a chunk"));
    const size_t size = little32(reader.take(4, "a chunk").data());
    picture |= name == "VP8 " || name == "VP8L" || name == "ANMF";
    use(name, reader.take(size, "a chunk"));
    reader.take(std::min(size % 2, reader.remaining()), "a chunk");  // chunks begin at even places
  }
  if (!picture)
    refuse(FileErrorCode::malformed, static_cast<int64_t>(kHead), "is a WebP file without a picture");
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
    // Of several the first counts, says the specification.
    if (name == "ICCP" && notes.icc.empty()) notes.icc.assign(content.begin(), content.end());
    if (name != "EXIF" || !notes.exif.empty()) return;
    const size_t begin = text_of(content).starts_with(kExifName) ? kExifName.size() : 0;
    notes.exif.assign(content.begin() + static_cast<int64_t>(begin), content.end());
  });
  return notes;
}

bool is_webp_animation(Bytes file) {
  constexpr size_t kFacts = kHead + 8;  // behind the name and the size of the chunk that comes first
  return file.size() > kFacts && text_of(file.subspan(kHead, 4)) == "VP8X" &&
         (file[kFacts] & kIsAnimation) != 0;
}

std::vector<uint8_t> with_webp_notes(Bytes plain, const Image& image) {
  std::vector<uint8_t> facts = {static_cast<uint8_t>((image.icc.empty() ? 0 : kHasIcc) |
                                                     (image.has_alpha() ? kHasAlpha : 0) |
                                                     (image.exif.empty() ? 0 : kHasExif))};
  append_little24(facts, 0);  // reserved
  append_little24(facts, image.width - 1);
  append_little24(facts, image.height - 1);

  std::vector<uint8_t> picture;
  each_chunk(plain, [&](std::string_view name, Bytes content) {
    if (name != "VP8X" && name != "ICCP" && name != "EXIF") append_chunk(picture, name, content);
  });
  std::vector<uint8_t> file(plain.begin(), plain.begin() + kHead);
  append_chunk(file, "VP8X", facts);
  if (!image.icc.empty()) append_chunk(file, "ICCP", image.icc);
  file.insert(file.end(), picture.begin(), picture.end());
  if (!image.exif.empty()) append_chunk(file, "EXIF", image.exif);
  std::vector<uint8_t> size;
  append_little32(size, static_cast<uint32_t>(file.size() - 8));
  std::copy(size.begin(), size.end(), file.begin() + 4);
  return file;
}

}  // namespace lux
