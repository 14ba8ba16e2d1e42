// PNG in all its colour types, depths, filters and interlacing, from files made here.
#include <doctest/doctest.h>

#include <array>

#include "luxgrad/data/image.h"
#include "sample_pictures.h"

using namespace lux;
using samples::Bytes;

namespace {

Bytes pixels_of(const Bytes& file) { return decode_image(file).value().samples; }

}  // namespace

TEST_CASE("depths below 8 spread over 0 to 255") {
  CHECK(pixels_of(samples::png_file({.width = 9, .bits = 1, .raw = {0, 0b10110000, 0b10000000}})) ==
        Bytes{255, 0, 255, 255, 0, 0, 0, 0, 255});
  CHECK(pixels_of(samples::png_file({.width = 5, .bits = 2, .raw = {0, 0b00011011, 0b01000000}})) ==
        Bytes{0, 85, 170, 255, 85});
  CHECK(pixels_of(samples::png_file({.width = 3, .bits = 4, .raw = {0, 0x0F, 0x70}})) == Bytes{0, 255, 119});
}

TEST_CASE("palettes, with and without alpha; an index without an entry is black") {
  const Bytes palette = {1, 2, 3, 40, 50, 60}, raw = {0, 0b00011000};
  CHECK(pixels_of(samples::png_file(
            {.width = 3, .bits = 2, .color = 3, .before_data = {{"PLTE", palette}}, .raw = raw})) ==
        Bytes{1, 2, 3, 40, 50, 60, 0, 0, 0});
  CHECK(pixels_of(samples::png_file({.width = 3,
                                     .bits = 2,
                                     .color = 3,
                                     .before_data = {{"PLTE", palette}, {"tRNS", {7}}},
                                     .raw = raw})) == Bytes{1, 2, 3, 7, 40, 50, 60, 255, 0, 0, 0, 255});
}

TEST_CASE("one colour may be transparent") {
  CHECK(pixels_of(samples::png_file(
            {.width = 3, .bits = 4, .before_data = {{"tRNS", {0, 15}}}, .raw = {0, 0x0F, 0x70}})) ==
        Bytes{0, 255, 255, 0, 119, 255});
  CHECK(pixels_of(samples::png_file({.width = 2,
                                     .color = 2,
                                     .before_data = {{"tRNS", {0, 1, 0, 2, 0, 3}}},
                                     .raw = {0, 1, 2, 3, 1, 2, 4}})) == Bytes{1, 2, 3, 0, 1, 2, 4, 255});
  const Image wide =
      decode_image(samples::png_file(
                       {.width = 2, .bits = 16, .before_data = {{"tRNS", {1, 2}}}, .raw = {0, 1, 2, 1, 3}}))
          .value();
  CHECK(wide.bits == 16);
  CHECK(to_tensor(wide).to_vector()[0] == doctest::Approx(258.0 / 65535));
  CHECK(wide.samples[2] + wide.samples[3] == 0);
  CHECK(wide.samples[6] + wide.samples[7] == 510);
}

TEST_CASE("interlaced rows come to their places") {
  // A 3 x 3 picture holds its pixels in passes 1, 4 (column 2), 5 (row 2), 6 (column 1) and 7 (row 1).
  const Bytes raw = {0, 1, 0, 3, 0, 7, 9, 0, 2, 0, 8, 0, 4, 5, 6};
  CHECK(pixels_of(samples::png_file({.width = 3, .height = 3, .interlace = 1, .raw = raw})) ==
        Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("every filter, at the edges too") {
  const Bytes raw = {1, 10, 5, 5, 2, 1, 1, 1, 3, 3, 3, 3, 4, 1, 1, 1};
  // Sub: 10 15 20. Up: 11 16 21. Average: 3+5, 3+(8+16)/2, 3+(15+21)/2. Paeth of (0,8,0), (9,15,8),
  // (16,21,15).
  CHECK(pixels_of(samples::png_file({.width = 3, .height = 4, .raw = raw})) ==
        Bytes{10, 15, 20, 11, 16, 21, 8, 15, 21, 9, 16, 22});
}

TEST_CASE("random rows, palettes and filters decode for every colour type, depth and interlacing") {
  Generator random(13, "rows");
  const auto noise = [&](size_t length) {
    Bytes bytes(length);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
    return bytes;
  };
  const std::pair<int, int> kinds[] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
                                       {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};
  for (const auto& kind : kinds) {
    const auto [color, bits] = kind;
    const int stored = std::array{1, 0, 3, 1, 2, 0, 4}[static_cast<size_t>(color)];
    for (int round = 0; round < 60; ++round) {
      samples::PngParts png{.width = static_cast<uint32_t>(random.below(20) + 1),
                            .height = static_cast<uint32_t>(random.below(20) + 1),
                            .bits = static_cast<uint8_t>(bits),
                            .color = static_cast<uint8_t>(color),
                            .interlace = static_cast<uint8_t>(round % 2)};
      if (color == 3) png.before_data.emplace_back("PLTE", noise(3 * (random.below(256) + 1)));
      const bool transparent = color < 4 && random.below(2) == 0;
      if (transparent)
        png.before_data.emplace_back("tRNS", noise(color == 0 ? 2 : color == 2 ? 6 : random.below(257)));
      const std::array<std::array<int, 4>, 7> starts = {
          {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
      for (int pass = 0; pass < (png.interlace != 0 ? 7 : 1); ++pass) {
        const auto [x, y, step_x, step_y] =
            png.interlace != 0 ? starts[static_cast<size_t>(pass)] : std::array{0, 0, 1, 1};
        const int columns = (static_cast<int>(png.width) - x + step_x - 1) / step_x;
        const int rows = (static_cast<int>(png.height) - y + step_y - 1) / step_y;
        for (int row = 0; row < rows && columns > 0; ++row) {
          png.raw.push_back(static_cast<uint8_t>(random.below(5)));
          const Bytes bytes = noise(static_cast<size_t>((columns * stored * bits + 7) / 8));
          png.raw.insert(png.raw.end(), bytes.begin(), bytes.end());
        }
      }
      CAPTURE(kind.first);
      CAPTURE(kind.second);
      const auto image = decode_image(samples::png_file(png));
      REQUIRE(image);
      CHECK(image.value().channels == (color == 3 ? 3 : stored) + (transparent ? 1 : 0));
      png.raw.pop_back();
      CHECK(samples::refusal(samples::png_file(png)) == "is a damaged PNG: its picture data end too early");
      png.raw.resize(png.raw.size() + 2);
      CHECK(samples::refusal(samples::png_file(png)) ==
            "is a damaged PNG: more picture data than its header declares");
    }
  }
}
