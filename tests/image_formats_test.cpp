// The variants that each picture format knows, from files made here and from public test suites where
// present.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "luxgrad/data/image.h"
#include "luxgrad/data/webp.h"
#include "sample_pictures.h"

using namespace lux;
using samples::Bytes;
namespace fs = std::filesystem;

namespace {

Bytes pixels_of(const Bytes& file) { return decode_image(file).value().samples; }

Bytes text(std::string_view characters) { return {characters.begin(), characters.end()}; }

/// A BMP from fields of its info header, what follows the header (masks, palette), and its rows.
Bytes bmp_file(int32_t width, int32_t height, uint32_t bits, uint32_t compression, const Bytes& tables,
               const Bytes& rows, uint32_t header = 40) {
  Bytes bytes = {'B', 'M'};
  for (const size_t value : {size_t{0}, size_t{0}, 14 + header + tables.size(), size_t{header}})
    append_little32(bytes, static_cast<uint32_t>(value));
  append_little32(bytes, static_cast<uint32_t>(width));
  append_little32(bytes, static_cast<uint32_t>(height));
  append_little32(bytes, 1 | bits << 16);
  append_little32(bytes, compression);
  bytes.resize(14 + header);
  bytes.insert(bytes.end(), tables.begin(), tables.end());
  bytes.insert(bytes.end(), rows.begin(), rows.end());
  return bytes;
}

Bytes little(std::initializer_list<uint32_t> values) {
  Bytes bytes;
  for (const uint32_t value : values) append_little32(bytes, value);
  return bytes;
}

/// Pictures of a shared folder by file name; prints a message where that is absent.
std::map<std::string, Image> shared_pictures(const std::string& folder, const std::string& extension) {
  std::map<std::string, Image> pictures;
  const auto files = samples::shared_files(folder, extension);
  if (files.empty()) MESSAGE("skipped: no ../shared/data/formats/", folder);
  for (const std::string& file : files) {
    const auto image = decode_image(read_file(file).value());
    CAPTURE(file);
    if (image) pictures[fs::path(file).filename()] = image.value();
  }
  return pictures;
}

/// The largest difference of two pictures in units of 1/255, infinite for different sizes.
double difference(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height) return INFINITY;
  const std::vector<double> x = to_tensor(a).to_vector(), y = to_tensor(b).to_vector();
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest * 255;
}

}  // namespace

TEST_CASE("BMP: palettes, masks and direction") {
  CHECK(pixels_of(bmp_file(2, 2, 1, 0, little({0x010203, 0xF0E0D0}), little({0x40, 0x80}))) ==
        Bytes{0xF0, 0xE0, 0xD0, 1, 2, 3, 1, 2, 3, 0xF0, 0xE0, 0xD0});
  CHECK(pixels_of(bmp_file(1, -2, 24, 0, {}, little({0x010203, 0x040506}))) == Bytes{1, 2, 3, 4, 5, 6});
  CHECK(pixels_of(bmp_file(2, 1, 16, 0, {}, little({0x7C1F001F}))) == Bytes{0, 0, 255, 255, 0, 255});
  const Bytes masks = little({0xF800, 0x07E0, 0x001F});
  CHECK(pixels_of(bmp_file(2, 1, 16, 3, masks, little({0x07E0F800 | 1}))) == Bytes{255, 0, 8, 0, 255, 0});
  CHECK(pixels_of(bmp_file(1, 1, 32, 0, {}, little({0x00112233}))) == Bytes{0x11, 0x22, 0x33});
  CHECK(pixels_of(bmp_file(1, 1, 32, 0, {}, little({0x80112233}))) == Bytes{0x11, 0x22, 0x33, 0x80});
}

TEST_CASE(
    "BMP: rows that the file does not hold, or that begin in its header, are refused without a declared "
    "length") {
  const Bytes whole = bmp_file(2, 3, 24, 0, {}, Bytes(24));
  CHECK(samples::refusal(whole).empty());
  for (size_t bytes = 54; bytes < whole.size(); ++bytes) {
    CHECK(samples::refusal({whole.begin(), whole.begin() + static_cast<int64_t>(bytes)}) ==
          cat("has ", bytes, " bytes for a BMP of 2 x 3 pixels, expected 78"));
  }
  Bytes early = whole;
  for (const int begin : {53, 14, 0}) {
    early[10] = static_cast<uint8_t>(begin);
    CHECK(samples::refusal(early) == "is a damaged BMP: its rows begin in its header");
  }
}

TEST_CASE("PNM: text and bytes, comments, any maximum") {
  CHECK(pixels_of(text("P1\n# a comment\n3 2\n0 1 0\n101")) == Bytes{255, 0, 255, 0, 255, 0});
  CHECK(pixels_of(text("P2 3 1 10\n0 5 10\n")) == Bytes{0, 128, 255});
  CHECK(pixels_of(text("P3\n1 1\n# 255 follows\n255\n1 2\t3\n")) == Bytes{1, 2, 3});
  CHECK(pixels_of(text("P4 9 1\n\xA5\x80")) == Bytes{0, 255, 0, 255, 255, 0, 255, 0, 0});
  CHECK(pixels_of(text("P5 2 1 100\n\x32\x64")) == Bytes{128, 255});
  const Image wide = decode_image(text(std::string_view("P6 1 1 1000\n\0\0\1\xF4\3\xE8", 18))).value();
  CHECK(wide.bits == 16);
  CHECK(to_tensor(wide).to_vector()[1] == doctest::Approx(0.5).epsilon(1e-4));
  CHECK(to_tensor(wide).to_vector()[2] == 1);
  CHECK(samples::refusal(text("P2 1 1 10\n11\n")) == "is a damaged PNM: a sample of 11, expected at most 10");
  CHECK(samples::refusal(text("P2 1 1 0\n0\n")).find("maximum 0") != std::string::npos);
}

TEST_CASE("PngSuite: all valid files are read, all corrupt ones refused") {
  for (const std::string folder : {"pngsuite/primary", "pngsuite/16bit"}) {
    const auto files = samples::shared_files(folder, ".png");
    for (const std::string& file : files) {
      CAPTURE(file);
      CHECK(samples::refusal(read_file(file).value()) == "");
    }
  }
  const auto corrupt = samples::shared_files("pngsuite/corrupt", ".png");
  if (corrupt.empty()) MESSAGE("skipped: no ../shared/data/formats/pngsuite");
  for (const std::string& file : corrupt) {
    CAPTURE(file);
    CHECK(samples::refusal(read_file(file).value()) != "");
  }
}

TEST_CASE("PngSuite: files that show the same picture give the same pixels") {
  auto pictures = shared_pictures("pngsuite", ".png");
  if (pictures.empty()) return;
  int pairs = 0;
  const auto same = [&](const std::string& a, const std::string& b) {
    CAPTURE(a);
    CAPTURE(b);
    REQUIRE(pictures.count(a) + pictures.count(b) == 2);
    CHECK(samples::same_pixels(pictures[a], pictures[b]));
    ++pairs;
  };
  for (const auto& [name, image] : pictures) {
    if (name.substr(0, 4) == "basi") same(name, "basn" + name.substr(4));  // interlaced
    if (name.substr(0, 2) == "oi") same(name, "bas" + name.substr(3));     // data in many chunks
    if (name[0] == 'z') same(name, "z00n2c08.png");                        // compression levels
    if (name[0] == 's' && name[3] == 'i') {                                // odd sizes
      same(name, name.substr(0, 3) + 'n' + name.substr(4));
      CHECK(image.width == std::stoi(name.substr(1, 2)));
    }
    if (name.find("16.png") != std::string::npos) CHECK(image.bits == 16);
  }
  CHECK(pairs > 40);
  auto pnm = shared_pictures("pnm", ".ppm");
  pnm.merge(shared_pictures("pnm", ".pgm"));
  CHECK(pnm.size() == 6);
  CHECK(samples::same_pixels(pnm["basi2c16.ppm"], pictures["basn2c16.png"]));
  CHECK(samples::same_pixels(pnm["basi0g16.pgm"], pictures["basn0g16.png"]));
}

TEST_CASE("bmpsuite: uncompressed files are read, compressed ones refused, variants of a picture agree") {
  const auto files = samples::shared_files("bmpsuite", ".bmp");
  auto pictures = shared_pictures("bmpsuite", ".bmp");
  if (files.empty()) return;
  for (const std::string& file : files) {
    CAPTURE(file);
    const std::string reason = samples::refusal(read_file(file).value());
    const bool compressed =
        file.find("rle") != std::string::npos || file.find("run_length") != std::string::npos;
    CHECK((reason.find("is a compressed BMP") == 0) == compressed);
    CHECK(compressed == !reason.empty());
  }
  for (const auto& [key, image] : pictures) {
    const std::string& name = key;
    CAPTURE(name);
    const size_t suffix = name.find("_Top_Down");
    if (suffix != std::string::npos)
      CHECK(samples::same_pixels(image, pictures[name.substr(0, suffix) + ".bmp"]));
    for (const char* same : {"rgb32.bmp", "rgb32bf.bmp", "rgb24prof.bmp"}) {
      if (name == same) CHECK(difference(image, pictures["rgb24.bmp"]) == 0);
    }
    for (const char* same : {"pal8v5.bmp", "pal8os2sp.bmp", "pal8os2-sz.bmp", "pal8os2-hs.bmp"}) {
      if (name == same) CHECK(samples::same_pixels(image, pictures["pal8v4.bmp"]));
    }
  }
  CHECK(difference(pictures["rgb32-111110.bmp"], pictures["rgb24.bmp"]) <= 1.001);  // was rounded to 10 bits
  CHECK(pictures["rgb24prof.bmp"].icc.size() == 3048);
}

TEST_CASE("JPEG: reference decodings agree") {
  auto jpegs = shared_pictures("jpeg_reftest_mozilla", ".jpg");
  auto references = shared_pictures("jpeg_reftest_mozilla", ".png");
  for (const auto& [key, image] : jpegs) {
    const std::string& name = key;
    CAPTURE(name);
    // At 3 and 4 pixels the reference's decoder repeats chroma samples instead of interpolating them.
    if (name == "jpg-size-3x3.jpg" || name == "jpg-size-4x4.jpg") continue;
    CHECK(difference(image, references[fs::path(name).stem().string() + ".png"]) <= 3);
  }
  if (!jpegs.empty()) {
    CHECK(jpegs.size() == 18);
    CHECK(jpegs.count("jpg-cmyk-1.jpg") == 0);
    CHECK(jpegs["jpg-srgb-icc.jpg"].icc.size() == 3048);
    CHECK(jpegs["jpg-gray.jpg"].channels == 1);
  }
}

TEST_CASE("JPEG: kinds that are not read are named") {
  for (const std::string& file : samples::shared_files("", ".jpg")) {
    const std::string reason = samples::refusal(read_file(file).value()), name = fs::path(file).filename();
    CAPTURE(name);
    if (name.find("cmyk") != std::string::npos) {
      CHECK(reason == "is a CMYK JPEG, expected gray or colour (YCbCr, RGB)");
    } else if (name == "monkey12.jpg") {
      CHECK(reason == "is a JPEG of 12 bits, expected 8");
    } else if (name == "testimgari.jpg") {
      CHECK(reason.find("is an arithmetic-coded JPEG") == 0);
    } else {
      CHECK(reason == "");
    }
  }
}

TEST_CASE("JPEG: the eight orientations of one photo come out the same size and nearly the same pixels") {
  auto pictures = shared_pictures("exif_orientation", ".jpg");
  for (const auto& [key, image] : pictures) {
    const std::string& name = key;
    CAPTURE(name);
    const Image& upright = pictures["Landscape_1.jpg"];
    REQUIRE(image.width == upright.width);
    REQUIRE(image.height == upright.height);
    double sum = 0;
    for (size_t i = 0; i < image.samples.size(); ++i) sum += std::abs(image.samples[i] - upright.samples[i]);
    CHECK(sum / static_cast<double>(image.samples.size()) < 5);  // each was compressed anew
  }
}

TEST_CASE("other formats are named, whatever their extension") {
  const std::pair<std::string_view, std::string> kinds[] = {
      {"GIF87a", "a GIF picture"},
      {"RIFF\1\2\3\4WEBPVP8 ", "a WebP picture"},
      {std::string_view("II*\0\x8\0\0\0", 8), "a TIFF or raw picture"},
      {std::string_view("\0\0\0\x1c"
                        "ftypavif",
                        12),
       "an AVIF picture"},
      {std::string_view("\0\0\0\x18"
                        "ftypheic",
                        12),
       "a HEIC picture"},
      {std::string_view("\0\0\0\x20"
                        "ftypisom",
                        12),
       "a video"},
      {"%PDF-1.4", "a PDF document"}};
  for (const auto& [bytes, kind] : kinds)
    CHECK(samples::refusal(text(bytes)) == "is " + kind + ", expected JPEG, PNG, BMP or PNM");
  for (const std::string_view bytes : {"hello", "<!DOCTYPE html>", "P", "P9 1 1"})
    CHECK(samples::refusal(text(bytes)) ==
          "is not a picture that can be read, expected JPEG, PNG, BMP or PNM");
}

TEST_CASE("what stands beside the picture of a WebP file comes back") {
  Bytes plain = text(std::string_view("RIFF\x12\0\0\0WEBPVP8 ", 16));
  append_little32(plain, 5);  // an odd length, so one byte is put behind it
  for (const char byte : std::string_view("12345\0", 6)) plain.push_back(static_cast<uint8_t>(byte));
  Image image;
  image.width = 300;
  image.height = 2;
  image.exif = text("II*-exif");
  image.icc = text("profile");
  const Bytes file = with_webp_notes(plain, image);
  CHECK(read_webp_notes(file).exif == image.exif);
  CHECK(read_webp_notes(file).icc == image.icc);
  CHECK(with_webp_notes(file, image) == file);  // what was there is replaced
  CHECK_THROWS_AS(with_webp_notes(text("RIFF----WAVE"), image), FileException);
}
