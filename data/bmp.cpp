#include "luxgrad/data/bmp.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>

#include "luxgrad/data/byte_reader.h"

namespace lux {
namespace {

using enum FileErrorCode;

constexpr uint32_t kUncompressed = 0, kMasks = 3, kMasksWithAlpha = 6;
constexpr size_t kFileHeader = 14, kCoreHeader = 12, kInfoHeader = 40, kV2Header = 52, kV3Header = 56,
                 kV4Header = 108, kV5Header = 124;
constexpr uint32_t kEmbeddedProfile = 0x4D424544;  // "MBED"

/// What the headers say; the rows begin at `rows`.
struct Bmp {
  int64_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;                     // per pixel
  std::array<uint32_t, 4> masks{};  // of red, green, blue, alpha, for 16 and 32 bits
  bool alpha_if_used = false;       // 32 bits without masks: the fourth byte is alpha unless it is always 0
  std::array<std::array<uint8_t, 3>, 256> palette{};  // RGB; black where the file has no entry
  size_t rows = 0, row_bytes = 0;
  std::span<const uint8_t> icc;
};

void read_masks(Bmp& bmp, std::span<const uint8_t> bytes, size_t header, uint32_t compression) {
  if (compression == kUncompressed) {
    bmp.masks = bmp.bits == 16 ? std::array<uint32_t, 4>{0x7C00, 0x3E0, 0x1F, 0}
                               : std::array<uint32_t, 4>{0xFF0000, 0xFF00, 0xFF, 0xFF000000};
    bmp.alpha_if_used = bmp.bits == 32;
    return;
  }
  // The masks stand behind the oldest header and inside the newer ones, at the same place.
  const bool alpha = header >= kV3Header || compression == kMasksWithAlpha;
  ByteReader reader(bytes.subspan(kFileHeader + kInfoHeader), kFileHeader + kInfoHeader);
  const std::span<const uint8_t> stored = reader.take(alpha ? 16 : 12, "the header");
  for (size_t c = 0; c < stored.size() / 4; ++c) bmp.masks[c] = little32(stored.data() + 4 * c);
  uint32_t all = 0;
  for (size_t c = 0; c < 4; ++c) {
    const uint32_t mask = bmp.masks[c];
    const bool contiguous = std::popcount(mask) + std::countl_zero(mask) + std::countr_zero(mask) == 32;
    if (mask == 0 ? c < 3 : !contiguous || (all & mask) != 0)
      refuse(malformed, kFileHeader + kInfoHeader, "is a damaged BMP: bad colour masks");
    all |= mask;
  }
}

void read_palette(Bmp& bmp, std::span<const uint8_t> bytes, size_t header, uint32_t used) {
  const size_t entry_bytes = header == kCoreHeader ? 3 : 4, first = kFileHeader + header;
  const size_t possible = size_t{1} << bmp.bits;
  size_t entries = used == 0 ? possible : std::min<size_t>(used, possible);
  // Old OS/2 files end their palette where the rows begin.
  if (bmp.rows > first) entries = std::min(entries, (bmp.rows - first) / entry_bytes);
  ByteReader reader(bytes.subspan(first), static_cast<int64_t>(first));
  for (size_t i = 0; i < entries; ++i) {
    const auto entry = reader.take(entry_bytes, "the palette");
    bmp.palette[i] = {entry[2], entry[1], entry[0]};
  }
}

/// The profile that a version 5 header points to, counted from that header.
std::span<const uint8_t> embedded_profile(std::span<const uint8_t> bytes) {
  if (little32(bytes.data() + kFileHeader + 56) != kEmbeddedProfile) return {};
  const size_t begin = kFileHeader + little32(bytes.data() + kFileHeader + 112);
  const size_t length = little32(bytes.data() + kFileHeader + 116);
  if (begin + length > bytes.size())
    refuse(truncated, static_cast<int64_t>(bytes.size()),
           "is a BMP that ends before its colour profile does");
  return bytes.subspan(begin, length);
}

void check_kind(const Bmp& bmp, size_t header, uint32_t compression) {
  const bool masks = compression == kMasks || compression == kMasksWithAlpha;
  const bool windows = header == kInfoHeader || header == kV2Header || header == kV3Header ||
                       header == kV4Header || header == kV5Header;
  if (compression != kUncompressed &&
      !(masks && windows))  // in OS/2's headers the numbers mean other methods
    refuse(unsupported, 30, "is a compressed BMP (method ", compression, "), expected an uncompressed one");
  const bool known = bmp.bits == 1 || bmp.bits == 2 || bmp.bits == 4 || bmp.bits == 8 || bmp.bits == 16 ||
                     bmp.bits == 24 || bmp.bits == 32;
  if (!known || (masks && bmp.bits != 16 && bmp.bits != 32))
    refuse(malformed, 28, "is a damaged BMP: ", bmp.bits, " bits per pixel");
}

Bmp read_headers(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  ByteReader reader(bytes);
  const uint8_t* const file = reader.take(kFileHeader + 4, "the header").data();
  const size_t header = little32(file + kFileHeader);
  if (header != kCoreHeader && (header < 16 || header > kV5Header))
    refuse(malformed, kFileHeader, "is a damaged BMP: a header of ", header, " bytes");
  reader.take(header - 4, "the header");
  Bmp bmp;
  bmp.rows = little32(file + 10);
  uint32_t compression = kUncompressed, used = 0;
  if (header == kCoreHeader) {
    bmp.width = little16(file + 18);
    bmp.height = little16(file + 20);
    bmp.bits = little16(file + 24);
  } else {
    bmp.width = static_cast<int32_t>(little32(file + 18));
    bmp.height = static_cast<int32_t>(little32(file + 22));
    bmp.bits = little16(file + 28);
    if (header >= 20) compression = little32(file + 30);
    if (header >= 36) used = little32(file + 46);
  }
  bmp.top_down = bmp.height < 0;
  bmp.height = std::abs(bmp.height);
  check_kind(bmp, header, compression);
  check_image_size(bmp.width, bmp.height, 4, limits);
  if (bmp.rows < kFileHeader + header)
    refuse(malformed, 10, "is a damaged BMP: its rows begin in its header");
  bmp.row_bytes = static_cast<size_t>((bmp.width * bmp.bits + 31) / 32 * 4);
  const size_t end = bmp.rows + bmp.row_bytes * static_cast<size_t>(bmp.height);
  if (end > bytes.size())
    refuse(truncated, static_cast<int64_t>(bytes.size()), "has ", bytes.size(), " bytes for a BMP of ",
           bmp.width, " x ", bmp.height, " pixels, expected ", end);
  // The length in the header is often 0 or that of the header alone, but too long only where bytes are
  // missing.
  if (const uint32_t declared = little32(file + 2); declared > bytes.size())
    refuse(truncated, static_cast<int64_t>(bytes.size()), "has ", bytes.size(), " bytes, its header says ",
           declared);
  if (bmp.bits == 16 || bmp.bits == 32) read_masks(bmp, bytes, header, compression);
  if (bmp.bits <= 8) read_palette(bmp, bytes, header, used);
  if (header == kV5Header) bmp.icc = embedded_profile(bytes);
  return bmp;
}

/// The bits under `mask` as 8 bits, rounded.
uint8_t field(uint32_t pixel, uint32_t mask) {
  const uint64_t value = (pixel & mask) >> std::countr_zero(mask);
  const uint64_t maximum = mask >> std::countr_zero(mask);
  return static_cast<uint8_t>((value * 255 + maximum / 2) / maximum);
}

void read_row(const Bmp& bmp, const uint8_t* from, int channels, uint8_t* to) {
  for (int64_t x = 0; x < bmp.width; ++x, to += channels) {
    if (bmp.bits <= 8) {
      const int64_t bit = x * bmp.bits;
      const int shift = static_cast<int>(8 - bmp.bits - bit % 8);
      const auto& entry = bmp.palette[static_cast<size_t>(from[bit / 8] >> shift & ((1 << bmp.bits) - 1))];
      std::copy(entry.begin(), entry.end(), to);
    } else if (bmp.bits == 24) {
      std::reverse_copy(from + 3 * x, from + 3 * x + 3, to);
    } else {
      const uint32_t pixel = bmp.bits == 16 ? little16(from + 2 * x) : little32(from + 4 * x);
      for (int c = 0; c < channels; ++c) to[c] = field(pixel, bmp.masks[static_cast<size_t>(c)]);
    }
  }
}

bool uses_fourth_byte(const Bmp& bmp, std::span<const uint8_t> bytes) {
  const auto rows = bytes.subspan(bmp.rows, bmp.row_bytes * static_cast<size_t>(bmp.height));
  for (size_t i = 3; i < rows.size(); i += 4) {
    if (rows[i] != 0) return true;
  }
  return false;
}

}  // namespace

Image read_bmp(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  const Bmp bmp = read_headers(bytes, limits);
  const bool alpha = bmp.alpha_if_used ? uses_fourth_byte(bmp, bytes) : bmp.masks[3] != 0;
  Image image{.width = bmp.width, .height = bmp.height, .channels = alpha ? 4 : 3};
  announce(limits, image, bytes, 0);
  image.allocate(image.width, image.height, image.channels, image.bits);
  for (int64_t y = 0; y < bmp.height; ++y) {
    const int64_t stored = bmp.top_down ? y : bmp.height - 1 - y;
    read_row(bmp, bytes.data() + bmp.rows + static_cast<size_t>(stored) * bmp.row_bytes, image.channels,
             image.row(y));
  }
  image.icc.assign(bmp.icc.begin(), bmp.icc.end());
  return image;
}

std::vector<uint8_t> write_bmp(const Image& image) {
  const bool alpha = image.has_alpha();
  const size_t header = alpha ? kV4Header : kInfoHeader, pixel_bytes = alpha ? 4 : 3;
  const size_t row_bytes = (static_cast<size_t>(image.width) * pixel_bytes + 3) / 4 * 4;
  const size_t rows = kFileHeader + header, end = rows + row_bytes * static_cast<size_t>(image.height);
  std::vector<uint8_t> bytes = {'B', 'M'};
  bytes.reserve(end);
  for (const size_t value :
       {end, size_t{0}, rows, header, static_cast<size_t>(image.width), static_cast<size_t>(image.height)})
    append_little32(bytes, static_cast<uint32_t>(value));
  append_little16(bytes, 1);  // planes
  append_little16(bytes, static_cast<uint32_t>(8 * pixel_bytes));
  append_little32(bytes, alpha ? kMasks : kUncompressed);
  bytes.resize(kFileHeader + kInfoHeader);
  if (alpha) {
    for (const uint32_t mask : {0xFF0000U, 0xFF00U, 0xFFU, 0xFF000000U}) append_little32(bytes, mask);
    append_little32(bytes, 0x73524742);  // "sRGB"
  }
  bytes.resize(rows);
  for (int64_t y = image.height - 1; y >= 0; --y) {
    const uint8_t* pixel = image.row(y);
    for (int64_t x = 0; x < image.width; ++x, pixel += image.channels) {
      for (int c = 2; c >= 0; --c) bytes.push_back(pixel[std::min(c, image.colors() - 1)]);
      if (alpha) bytes.push_back(pixel[image.channels - 1]);
    }
    bytes.resize((bytes.size() - rows + 3) / 4 * 4 + rows);
  }
  return bytes;
}

}  // namespace lux
