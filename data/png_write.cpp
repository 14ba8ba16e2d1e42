// Writes PNG of 8 and 16 bits: each row with the filter that leaves the smallest differences, then deflate.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/deflate.h"
#include "luxgrad/data/png.h"

namespace lux {
namespace {

constexpr std::string_view kProfileName{"ICC profile\0\0", 13};  // and the compression method, deflate

/// `append_data` appends what is in the chunk, whose length is known only then.
void append_chunk_made_by(std::vector<uint8_t>& bytes, std::string_view type, const auto& append_data) {
  const size_t length_at = bytes.size(), checked = length_at + 4, data_at = checked + type.size();
  append_big32(bytes, 0);
  bytes.insert(bytes.end(), type.begin(), type.end());
  append_data();
  const auto length = static_cast<uint32_t>(bytes.size() - data_at);
  for (size_t i = 0; i < 4; ++i) bytes[length_at + i] = static_cast<uint8_t>(length >> (24 - 8 * i));
  append_big32(bytes, static_cast<uint32_t>(crc32_z(0, bytes.data() + checked, bytes.size() - checked)));
}

void append_chunk(std::vector<uint8_t>& bytes, std::string_view type, std::span<const uint8_t> data) {
  append_chunk_made_by(bytes, type, [&] { bytes.insert(bytes.end(), data.begin(), data.end()); });
}

/// A row in PNG's byte order.
void store_row(const Image& image, int64_t y, std::span<uint8_t> row) {
  std::memcpy(row.data(), image.row(y), row.size());
  if (image.bits == 16 && std::endian::native == std::endian::little) {
    for (size_t i = 0; i < row.size(); i += 2) std::swap(row[i], row[i + 1]);
  }
}

/// Filters a row in one of the five ways into `out`, whose first byte names it. `row` and `above` have
/// `pixel` zeros in front. Returns the sum of the magnitudes, which is small where deflate will do well.
uint32_t filter_row(int filter, const uint8_t* row, const uint8_t* above, size_t pixel,
                    std::span<uint8_t> out) {
  out[0] = static_cast<uint8_t>(filter);
  const auto subtract = [row, out = out.subspan(1)](auto prediction) {
    uint32_t sum = 0;
    uint8_t* const to = out.data();
    for (size_t i = 0; i < out.size(); ++i) {
      to[i] = static_cast<uint8_t>(row[i] - prediction(i));
      sum += static_cast<uint32_t>(std::abs(static_cast<int8_t>(to[i])));
    }
    return sum;
  };
  const uint8_t* const left = row - pixel;
  const uint8_t* const corner = above - pixel;
  if (filter == 1) return subtract([=](size_t i) { return left[i]; });
  if (filter == 2) return subtract([=](size_t i) { return above[i]; });
  if (filter == 3) return subtract([=](size_t i) { return (left[i] + above[i]) / 2; });
  if (filter == 4) return subtract([=](size_t i) { return paeth(left[i], above[i], corner[i]); });
  return subtract([](size_t) { return 0; });
}

void deflate_pixels(const Image& image, std::vector<uint8_t>& bytes) {
  Deflater deflater(DeflateForm::zlib_runs, bytes);
  const size_t pixel = image.pixel_bytes();
  std::vector<uint8_t> row(pixel + image.row_bytes()), above(row.size());
  std::vector<uint8_t> filtered(image.row_bytes() + 1), best(filtered.size());
  for (int64_t y = 0; y < image.height; ++y, row.swap(above)) {
    store_row(image, y, std::span(row).subspan(pixel));
    uint32_t least = std::numeric_limits<uint32_t>::max();
    for (int filter = 0; filter < 5; ++filter) {
      const uint32_t sum = filter_row(filter, row.data() + pixel, above.data() + pixel, pixel, filtered);
      if (sum >= least) continue;
      least = sum;
      best.swap(filtered);
    }
    deflater.write(best);
  }
  deflater.finish();
}

}  // namespace

std::vector<uint8_t> write_png(const Image& image, bool notes) {
  std::vector<uint8_t> bytes;
  bytes.reserve(image.samples.size());  // hardly ever more; what is not written takes no memory
  bytes = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  std::vector<uint8_t> header;
  append_big32(header, static_cast<uint32_t>(image.width));
  append_big32(header, static_cast<uint32_t>(image.height));
  const uint8_t color = std::array<uint8_t, 5>{0, 0, 4, 2, 6}[static_cast<size_t>(image.channels)];
  for (const int byte : {image.bits, int{color}, 0, 0, 0}) header.push_back(static_cast<uint8_t>(byte));
  append_chunk(bytes, "IHDR", header);
  if (notes && !image.icc.empty()) {
    std::vector<uint8_t> profile(kProfileName.begin(), kProfileName.end());
    Deflater deflater(DeflateForm::zlib_runs, profile);
    deflater.write(image.icc);
    deflater.finish();
    append_chunk(bytes, "iCCP", profile);
  }
  if (notes && !image.exif.empty()) append_chunk(bytes, "eXIf", image.exif);
  append_chunk_made_by(bytes, "IDAT", [&] { deflate_pixels(image, bytes); });
  append_chunk(bytes, "IEND", {});
  return bytes;
}

}  // namespace lux
