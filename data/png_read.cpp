// Reads PNG in three walks: the chunks with their checksums, the inflated rows with their filters, the
// pixels.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/png.h"

namespace lux {
namespace {

using enum FileErrorCode;

constexpr size_t kProfileBytes = size_t{16} << 20;  // an ICC profile that inflates to more is left out
constexpr int64_t kDeflateRatio = 1032;             // no deflate stream expands further

enum ColorType : uint8_t { kGray = 0, kRgb = 2, kPalette = 3, kGrayAlpha = 4, kRgba = 6 };

/// One of the seven interlaced pictures, or the whole one.
struct Pass {
  int64_t x, y, step_x, step_y;
};
constexpr std::array<Pass, 1> kWhole = {{{0, 0, 1, 1}}};
constexpr std::array<Pass, 7> kAdam7 = {
    {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};

using Sample4 = std::array<uint16_t, 4>;

/// What the chunks say; the picture itself still compressed.
struct Png {
  int64_t width = 0, height = 0;
  int bits = 0;
  ColorType color = kGray;
  bool interlaced = false;
  std::array<Sample4, 256> palette{};  // RGBA; black and opaque where the file has no entry
  bool has_palette = false;
  bool has_transparency = false;
  Sample4 transparent{};  // the one colour that is, for gray and RGB
  std::vector<std::span<const uint8_t>> data;
  int64_t data_bytes = 0;
  std::span<const uint8_t> exif, icc;

  int stored_channels() const { return std::array{1, 0, 3, 1, 2, 0, 4}[color]; }
  int channels() const { return (color == kPalette ? 3 : stored_channels()) + (has_transparency ? 1 : 0); }
  std::span<const Pass> passes() const { return interlaced ? std::span<const Pass>(kAdam7) : kWhole; }
  int64_t columns(const Pass& p) const { return (width - p.x + p.step_x - 1) / p.step_x; }
  int64_t rows(const Pass& p) const { return (height - p.y + p.step_y - 1) / p.step_y; }
  size_t stored_row_bytes(const Pass& p) const {
    return static_cast<size_t>((columns(p) * stored_channels() * bits + 7) / 8);
  }
};

bool is(std::span<const uint8_t> type, std::string_view name) {
  return std::equal(type.begin(), type.end(), name.begin(), name.end());
}

void read_header(Png& png, std::span<const uint8_t> data, const ImageLimits& limits) {
  if (data.size() != 13 || data[10] != 0 || data[11] != 0 || data[12] > 1)
    refuse(malformed, 16, "is a damaged PNG: bad header");
  png.bits = data[8];
  const int color = data[9];
  const bool power = png.bits == 1 || png.bits == 2 || png.bits == 4 || png.bits == 8 || png.bits == 16;
  const bool fits = color == kGray || (color == kPalette && png.bits <= 8) ||
                    ((color == kRgb || color == kGrayAlpha || color == kRgba) && png.bits >= 8);
  if (!power || !fits)
    refuse(malformed, 24, "is a damaged PNG: no colour type ", color, " with ", png.bits, " bits");
  png.color = static_cast<ColorType>(color);
  png.interlaced = data[12] == 1;
  png.width = big32(data.data());
  png.height = big32(data.data() + 4);
  check_image_size(png.width, png.height, png.bits == 16 ? 8 : 4, limits);
}

void read_palette(Png& png, std::span<const uint8_t> data, int64_t offset) {
  if (data.size() % 3 != 0 || data.empty() || data.size() > 3 * png.palette.size() || png.has_palette)
    refuse(malformed, offset, "is a damaged PNG: bad palette");
  for (size_t i = 0; i < data.size() / 3; ++i)
    png.palette[i] = {data[3 * i], data[3 * i + 1], data[3 * i + 2], png.palette[i][3]};
  png.has_palette = true;
}

void read_transparency(Png& png, std::span<const uint8_t> data, int64_t offset) {
  const size_t expected = png.color == kGray ? 2 : 6;
  if (png.color == kPalette ? data.size() > png.palette.size() || !png.has_palette
                            : png.color > kRgb || data.size() != expected)
    refuse(malformed, offset, "is a damaged PNG: bad transparency");
  png.has_transparency = true;
  for (size_t i = 0; i < data.size() && png.color == kPalette; ++i) png.palette[i][3] = data[i];
  for (size_t i = 0; 2 * i < data.size() && png.color != kPalette; ++i)
    png.transparent[i] = big16(data.data() + 2 * i);
}

/// Reads all chunks up to IEND and checks their CRCs and their order.
Png read_chunks(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  Png png;
  for (auto& entry : png.palette) entry[3] = 255;
  ByteReader reader(bytes);
  reader.take(8, "the signature");
  bool data_ended = false;
  for (bool first = true;; first = false) {
    const int64_t offset = reader.offset();
    const size_t length = reader.big32("the PNG, before its last chunk");
    const std::span<const uint8_t> checked = reader.take(4, "a PNG chunk");
    const std::span<const uint8_t> data = reader.take(length, "a PNG chunk");
    const uint32_t crc = reader.big32("a PNG chunk");
    const std::span<const uint8_t> type = checked.first(4);
    if (crc32_z(0, type.data(), length + 4) != crc)
      refuse(malformed, offset, "is a damaged PNG: a chunk does not match its checksum");
    if (first != is(type, "IHDR")) refuse(malformed, offset, "is a damaged PNG: bad header");
    if (first) {
      read_header(png, data, limits);
    } else if (is(type, "IDAT")) {
      if (data_ended) refuse(malformed, offset, "is a damaged PNG: its picture data are interrupted");
      png.data.push_back(data);
      png.data_bytes += static_cast<int64_t>(length);
    } else if (is(type, "IEND")) {
      break;
    } else {
      data_ended = !png.data.empty();
      if (is(type, "PLTE"))
        read_palette(png, data, offset);
      else if (is(type, "tRNS"))
        read_transparency(png, data, offset);
      else if (is(type, "eXIf"))
        png.exif = data;
      else if (is(type, "iCCP"))
        png.icc = data;
      else if ((type[0] & 32) == 0)
        refuse(unsupported, offset, "is a PNG with an unknown critical chunk");
    }
  }
  if (png.data.empty()) refuse(malformed, reader.offset(), "is a damaged PNG: no picture data");
  if (png.color == kPalette && !png.has_palette)
    refuse(malformed, reader.offset(), "is a damaged PNG: no palette");
  return png;
}

/// Inflates a list of pieces, as many bytes at a time as are asked for.
class Inflater {
 public:
  explicit Inflater(std::span<const std::span<const uint8_t>> pieces) : pieces_(pieces) {
    if (inflateInit(&stream_) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Fills `to` as far as the stream goes; the number of bytes, or nothing if the stream is damaged or its
  /// pieces end before it does.
  std::optional<size_t> read(std::span<uint8_t> to) {
    stream_.next_out = to.data();
    stream_.avail_out = static_cast<uInt>(to.size());
    while (!ended_ && stream_.avail_out > 0) {
      if (stream_.avail_in == 0) {
        if (pieces_.empty()) return {};
        stream_.next_in = const_cast<Bytef*>(pieces_.front().data());  // zlib only reads it
        stream_.avail_in = static_cast<uInt>(pieces_.front().size());
        pieces_ = pieces_.subspan(1);
      }
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_MEM_ERROR) throw std::bad_alloc();
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) return {};
      ended_ = status == Z_STREAM_END;
    }
    return to.size() - stream_.avail_out;
  }

 private:
  z_stream stream_{};
  std::span<const std::span<const uint8_t>> pieces_;
  bool ended_ = false;
};

/// Undoes a row's filter in place; `above` is the row before (zeros for the first), `pixel` the distance of
/// the byte to the left.
void unfilter(int filter, std::span<uint8_t> row, const uint8_t* above, size_t pixel) {
  const auto left = [&](size_t i) { return i < pixel ? 0 : int{row[i - pixel]}; };
  const auto corner = [&](size_t i) { return i < pixel ? 0 : int{above[i - pixel]}; };
  const auto add = [&](auto prediction) {
    for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<uint8_t>(row[i] + prediction(i));
  };
  switch (filter) {
    case 0:
      return;
    case 1:
      return add(left);
    case 2:
      return add([&](size_t i) { return above[i]; });
    case 3:
      return add([&](size_t i) { return (left(i) + above[i]) / 2; });
    case 4:
      return add([&](size_t i) { return paeth(left(i), above[i], corner(i)); });
    default:
      refuse(malformed, -1, "is a damaged PNG: unknown filter");
  }
}

/// Sample `i` of a row without its filter.
uint16_t sample_of(const uint8_t* row, size_t i, int bits) {
  if (bits == 16) return big16(row + 2 * i);
  if (bits == 8) return row[i];
  const size_t per_byte = static_cast<size_t>(8 / bits);
  const size_t shift = (per_byte - 1 - i % per_byte) * static_cast<size_t>(bits);
  return static_cast<uint16_t>(row[i / per_byte] >> shift & ((1 << bits) - 1));
}

/// Writes the pixels of one stored row where they belong in `image`.
void place_row(const Png& png, const Pass& pass, const uint8_t* row, Image& image, int64_t y) {
  const auto stored = static_cast<size_t>(png.stored_channels());
  const auto channels = static_cast<size_t>(image.channels);
  const size_t step = static_cast<size_t>(pass.step_x) * image.pixel_bytes();
  uint8_t* to = image.row(pass.y + y * pass.step_y) + static_cast<size_t>(pass.x) * image.pixel_bytes();
  if (png.bits == 8 && pass.step_x == 1 && stored == channels) {
    std::memcpy(to, row, image.row_bytes());
    return;
  }
  const int scale = png.bits < 8 ? 255 / ((1 << png.bits) - 1) : 1;  // exact for 1, 2 and 4 bits
  const auto columns = static_cast<size_t>(png.columns(pass));
  for (size_t x = 0; x < columns; ++x, to += step) {
    Sample4 pixel{};
    for (size_t c = 0; c < stored; ++c) pixel[c] = sample_of(row, x * stored + c, png.bits);
    if (png.color == kPalette) {
      pixel = png.palette[pixel[0]];
    } else {
      if (png.has_transparency)
        pixel[stored] = pixel == png.transparent ? 0 : static_cast<uint16_t>(image.max_value());
      pixel[0] = static_cast<uint16_t>(pixel[0] * scale);
    }
    for (size_t c = 0; c < channels; ++c) {
      if (image.bits == 16)
        std::memcpy(to + 2 * c, &pixel[c], 2);
      else
        to[c] = static_cast<uint8_t>(pixel[c]);
    }
  }
}

void read_pixels(const Png& png, Image& image) {
  Inflater inflater(png.data);
  const size_t pixel = static_cast<size_t>(std::max(1, png.stored_channels() * png.bits / 8));
  std::vector<uint8_t> row, above;
  for (const Pass& pass : png.passes()) {
    if (png.columns(pass) <= 0 || png.rows(pass) <= 0) continue;
    above.assign(png.stored_row_bytes(pass) + 1, 0);
    row.resize(above.size());
    for (int64_t y = 0; y < png.rows(pass); ++y, row.swap(above)) {
      const auto got = inflater.read(row);
      if (!got) refuse(malformed, -1, "is a damaged PNG: its picture data cannot be inflated");
      if (*got < row.size()) refuse(truncated, -1, "is a damaged PNG: its picture data end too early");
      unfilter(row[0], std::span(row).subspan(1), above.data() + 1, pixel);
      place_row(png, pass, row.data() + 1, image, y);
    }
  }
  std::array<uint8_t, 1> beyond;
  const auto got = inflater.read(beyond);
  if (!got) refuse(malformed, -1, "is a damaged PNG: its picture data have no end or a wrong checksum");
  if (*got != 0) refuse(malformed, -1, "is a damaged PNG: more picture data than its header declares");
}

/// The profile in an iCCP chunk: a name, a method byte, a zlib stream. Empty if it cannot be read.
std::vector<uint8_t> inflate_profile(std::span<const uint8_t> chunk) {
  const auto name_end = std::find(chunk.begin(), chunk.end(), 0);
  if (chunk.end() - name_end < 2) return {};
  const std::array pieces = {chunk.subspan(static_cast<size_t>(name_end - chunk.begin()) + 2)};
  Inflater inflater(pieces);
  std::vector<uint8_t> profile;
  while (profile.size() < kProfileBytes) {
    const size_t filled = profile.size();
    profile.resize(std::max(size_t{4096}, 2 * filled));
    const auto got = inflater.read(std::span(profile).subspan(filled));
    if (!got) return {};
    profile.resize(filled + *got);
    if (profile.size() < std::max(size_t{4096}, 2 * filled)) return profile;
  }
  return {};
}

}  // namespace

Image read_png(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  const Png png = read_chunks(bytes, limits);
  int64_t raw_bytes = 0;
  for (const Pass& pass : png.passes()) {
    if (png.columns(pass) > 0 && png.rows(pass) > 0)
      raw_bytes += (static_cast<int64_t>(png.stored_row_bytes(pass)) + 1) * png.rows(pass);
  }
  if (raw_bytes > kDeflateRatio * png.data_bytes)
    refuse(truncated, -1, "is a damaged PNG: ", png.data_bytes, " bytes of data for ", png.width, " x ",
           png.height, " pixels");
  Image image{.width = png.width,
              .height = png.height,
              .channels = png.channels(),
              .bits = png.bits == 16 ? 16 : 8,
              .exif = {png.exif.begin(), png.exif.end()}};
  announce(limits, image, bytes, 0);
  image.allocate(image.width, image.height, image.channels, image.bits);
  read_pixels(png, image);
  if (!png.icc.empty()) image.icc = inflate_profile(png.icc);
  return image;
}

}  // namespace lux
