#include "luxgrad/data/orientation.h"

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

constexpr uint16_t kOrientationTag = 0x112, kShort = 3;
constexpr size_t kEntryBytes = 12;

/// The value of the orientation tag within the first directory of a TIFF block.
struct OrientationTag {
  size_t offset;
  bool big_endian;
};

std::optional<OrientationTag> find_orientation(std::span<const uint8_t> tiff) {
  if (tiff.size() < 8) return {};
  const bool big = tiff[0] == 'M' && tiff[1] == 'M';
  if (!big && !(tiff[0] == 'I' && tiff[1] == 'I')) return {};
  const auto u16 = [&](size_t at) { return big ? big16(tiff.data() + at) : little16(tiff.data() + at); };
  const auto u32 = [&](size_t at) { return big ? big32(tiff.data() + at) : little32(tiff.data() + at); };

  const size_t directory = u32(4);
  if (u16(2) != 42 || directory > tiff.size() - 2) return {};
  const size_t entries = u16(directory);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > tiff.size()) return {};
    if (u16(entry) == kOrientationTag && u16(entry + 2) == kShort && u32(entry + 4) == 1)
      return OrientationTag{entry + 8, big};
  }
  return {};
}

/// Where the pixels of a row of the upright picture stand in the stored one, in units of pixels.
struct Walk {
  int64_t start, step_x, step_y;
};

Walk walk_of(int orientation, int64_t W, int64_t H) {
  const std::array<Walk, 8> walks = {{
      {0, 1, W},             // 1: as it is
      {W - 1, -1, W},        // 2: mirrored
      {W * H - 1, -1, -W},   // 3: half turn
      {W * (H - 1), 1, -W},  // 4: upside down mirrored
      {0, W, 1},             // 5: transposed
      {W * (H - 1), -W, 1},  // 6: quarter turn clockwise makes it upright
      {W * H - 1, -W, -1},   // 7: transposed about the other diagonal
      {W - 1, W, -1},        // 8: quarter turn counter-clockwise makes it upright
  }};
  return walks[static_cast<size_t>(orientation - 1)];
}

}  // namespace

int exif_orientation(std::span<const uint8_t> tiff) {
  const auto tag = find_orientation(tiff);
  if (!tag) return 1;
  const uint8_t* value = tiff.data() + tag->offset;
  const int orientation = tag->big_endian ? big16(value) : little16(value);
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

void reset_exif_orientation(std::span<uint8_t> tiff) {
  if (const auto tag = find_orientation(tiff)) {
    tiff[tag->offset] = tag->big_endian ? 0 : 1;
    tiff[tag->offset + 1] = tag->big_endian ? 1 : 0;
  }
}

Image upright(Image image) {
  const int orientation = exif_orientation(image.exif);
  reset_exif_orientation(image.exif);
  return oriented(std::move(image), orientation);
}

Image oriented(Image image, int orientation) {
  if (orientation == 1) return image;

  const Walk walk = walk_of(orientation, image.width, image.height);
  const bool swaps = orientation >= 5;
  Image turned;
  turned.allocate(swaps ? image.height : image.width, swaps ? image.width : image.height, image.channels,
                  image.bits);
  const auto pixel_bytes = static_cast<int64_t>(image.pixel_bytes());
  const uint8_t* const stored = image.samples.data();
  parallel_rows(kCpu, turned.height, turned.width, [&](const Team&, int64_t y) {
    uint8_t* to = turned.row(y);
    const uint8_t* from = stored + (walk.start + y * walk.step_y) * pixel_bytes;
    for (int64_t x = 0; x < turned.width; ++x)
      std::memcpy(to + x * pixel_bytes, from + x * walk.step_x * pixel_bytes,
                  static_cast<size_t>(pixel_bytes));
  });
  turned.exif = std::move(image.exif);
  turned.icc = std::move(image.icc);
  return turned;
}

}  // namespace lux
