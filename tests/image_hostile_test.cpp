// Damaged and hostile picture files: cut, flipped, lying about their size, or decoded without memory. Every
// one is refused with a reason or gives the right pixels; none crashes. tests/hostile_test.cpp has the
// mutated ones.
#include <doctest/doctest.h>

#include <map>

#include "failing_new.h"
#include "hostile_formats.h"
#include "hostile_samples.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/png.h"
#include "sample_pictures.h"

using namespace lux;
using samples::Bytes;

namespace {

using Files = std::vector<Bytes>;

/// Adds the shared files that are too large for hostile_samples.h.
void add_shared(Files& files, const std::string& extension) {
  for (const std::string& file : samples::shared_files("", extension)) {
    Bytes bytes = read_file(file).value();
    if (bytes.size() > hostile::kSmallFile && samples::refusal(bytes).empty())
      files.push_back(std::move(bytes));
  }
}

/// Valid files of each format, from here and from the shared suites.
std::map<std::string, Files> make_corpus() {
  std::map<std::string, Files> corpus;
  for (const char* const name : {"png", "jpeg", "bmp", "pnm"})
    corpus[name] = hostile::format_named(name).samples();
  add_shared(corpus["png"], ".png");
  add_shared(corpus["jpeg"], ".jpg");
  add_shared(corpus["bmp"], ".bmp");
  add_shared(corpus["pnm"], ".ppm");
  add_shared(corpus["pnm"], ".pgm");
  if (samples::shared_files("", ".png").empty()) MESSAGE("only files made here: no ../shared/data/formats");
  return corpus;
}

const std::map<std::string, Files>& corpus() {
  static const std::map<std::string, Files> files = make_corpus();
  return files;
}

Bytes head_of(const Bytes& bytes, size_t length) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)};
}

Bytes jpeg_with_size(Bytes jpeg, int width, int height) {
  const uint8_t frame[] = {0xFF, 0xC0, 0, 17, 8};
  const auto at = std::search(jpeg.begin(), jpeg.end(), std::begin(frame), std::end(frame)) + 5;
  const int fields[] = {height >> 8, height & 255, width >> 8, width & 255};
  for (int i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(fields[i]);
  return jpeg;
}

Bytes bmp_header(uint32_t width, uint32_t height) {
  Bytes bytes = {'B', 'M'};
  for (const uint32_t value : {54u, 0u, 54u, 40u, width, height, 1u | 24u << 16})
    append_little32(bytes, value);
  bytes.resize(54);
  return bytes;
}

}  // namespace

TEST_CASE("no large picture cut at any hundredth of its length is accepted") {
  for (const auto& [key, files] : corpus()) {
    const std::string& format = key;
    for (const Bytes& file : files) {
      if (file.size() <= hostile::kSmallFile) continue;  // tests/hostile_test.cpp cuts those
      for (size_t hundredth = 1; hundredth < 100; ++hundredth) {
        const size_t length = file.size() * hundredth / 100;
        CAPTURE(format);
        CAPTURE(length);
        REQUIRE(samples::refusal(head_of(file, length)) != "");
      }
    }
  }
}

TEST_CASE("a small file cut at any byte is refused or has lost nothing") {
  for (const auto& [key, files] : corpus()) {
    const std::string& format = key;
    for (const Bytes& file : files) {
      if (file.size() > 1200) continue;
      const Image whole = decode_image(file).value();
      for (size_t length = 0; length < file.size(); ++length) {
        const auto image = decode_image(head_of(file, length));
        if (!image) continue;
        CAPTURE(format);
        CAPTURE(length);
        REQUIRE(samples::same_pixels(image.value(), whole));
        REQUIRE(image.value().icc == whole.icc);
      }
    }
  }
}

TEST_CASE("no PNG with one flipped bit is accepted") {
  Generator random(11, "flips");
  const Files& files = corpus().at("png");
  int accepted = 0;
  for (size_t i = 0; i < 10; ++i) {
    const Bytes& file = files[i * files.size() / 10];
    for (int flip = 0; flip < 2000; ++flip) {
      Bytes damaged = file;
      const uint64_t bit = random.below(8 * file.size());
      damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ (1 << bit % 8));
      accepted += samples::refusal(damaged).empty() ? 1 : 0;
    }
  }
  CHECK(accepted == 0);
}

TEST_CASE("files that lie about their size are refused before memory is spent") {
  const Bytes jpeg = encode_image(samples::picture(16, 16, 3, 8), ImageFormat::jpeg);
  const std::pair<Bytes, std::string> bombs[] = {
      {bmp_header(20000, 20000), "is 20000 x 20000 pixels, expected at most 16384 on a side"},
      {bmp_header(8000, 8000), "has 54 bytes for a BMP of 8000 x 8000 pixels"},
      {bmp_header(1, 0x80000000), "is 1 x 2147483648 pixels"},
      {bmp_header(0xFFFFFFFF, 1), "declares -1 x 1 pixels"},
      {bmp_header(0x7FFFFFFF, 0x7FFFFFFF), "is 2147483647 x 2147483647 pixels"},
      {samples::png_file({.width = 32000, .height = 32000, .raw = {0, 0}}), "is 32000 x 32000 pixels"},
      {samples::png_file({.width = 0xFFFFFFFF, .height = 0xFFFFFFFF, .raw = {0, 0}}), "is 4294967295 x 4294967295"},
      {samples::png_file({.width = 0, .height = 1, .raw = {0, 0}}), "declares 0 x 1 pixels"},
      {samples::png_file({.width = 8000, .height = 8000, .bits = 16, .color = 6, .raw = {0, 0}}), "is a damaged PNG: 10"},
      {samples::png_file({.width = 1, .height = 1, .raw = Bytes(64 << 20, 0)}), "is a damaged PNG: more picture data"},
      {samples::png_file({.width = 1,
                          .height = 1,
                          .before_data = {{"iCCP", [] {
                                             Bytes chunk = {'x', 0, 0};
                                             const Bytes stream = samples::deflated(Bytes(200 << 20, 0));
                                             chunk.insert(chunk.end(), stream.begin(), stream.end());
                                             return chunk;
                                           }()}},
                          .raw = {0, 0}}),
       ""},
      {jpeg_with_size(jpeg, 65535, 65535), "is 65535 x 65535 pixels"},
      {jpeg_with_size(jpeg, 8000, 8000), "has "},
      {jpeg_with_size(jpeg, 16, 0), "declares 16 x 0 pixels"},
      {hostile::progressive_jpeg(101), "has more than 100 scans"},
      {Bytes{'P', '6', ' ', '9', '9', '9', '9', '9', '9', '9', '9', '9', '9', ' ', '1', ' ', '2', '5', '5', '\n'},
       "is 2147483647 x 1 pixels"},
      {Bytes{'P', '5', ' ', '8', '0', '0', '0', ' ', '8', '0', '0', '0', ' ', '2', '5', '5', '\n'},
       "has 0 bytes of PNM data"}};
  for (const auto& [bytes, expected] : bombs) {
    const std::string& reason = expected;
    CAPTURE(reason);
    heap::peak = heap::bytes.load();
    const int64_t before = heap::peak;
    CHECK(samples::refusal(bytes).substr(0, reason.size()) == reason);
    CHECK(heap::peak - before < (reason.empty() ? 64 << 20 : 1 << 20));
  }
  CHECK(samples::refusal(hostile::progressive_jpeg(100)) == "");
}

TEST_CASE("limits can be moved") {
  const Bytes png = encode_image(samples::picture(40, 30, 3, 8), ImageFormat::png);
  const Bytes jpeg = encode_image(samples::picture(40, 30, 3, 8), ImageFormat::jpeg);
  CHECK(samples::refusal(png, {.pixels = 1200}) == "");
  CHECK(samples::refusal(png, {.pixels = 1199}) == "is 40 x 30 pixels, expected at most 1199 in all");
  CHECK(samples::refusal(jpeg, {.side = 39}) == "is 40 x 30 pixels, expected at most 39 on a side");
  CHECK(samples::refusal(png, {.decode_bytes = 4000}) == "needs 0 MiB, expected at most 0 MiB");
  CHECK(samples::refusal(jpeg, {.decode_bytes = 8000}).find("needs ") == 0);
}

TEST_CASE("without memory decoding throws OutOfMemory at any allocation, and leaks nothing") {
  for (const auto& [key, files] : corpus()) {
    const std::string& format = key;
    const Bytes& file = files[4];
    static_cast<void>(samples::refusal(file));  // what is allocated once, the pool's threads among it
    int64_t allocation = 1;
    for (bool done = false; !done; ++allocation) {
      const int64_t before = heap::live;
      heap::countdown = allocation;
      bool threw = false;
      try {
        done = static_cast<bool>(decode_image(file)) && heap::countdown > 0;
      } catch (const OutOfMemory&) {
        threw = true;
      }
      const bool failed = heap::countdown == 0;
      heap::countdown = 0;
      const int64_t after = heap::live;  // the checks allocate, too
      CAPTURE(format);
      CAPTURE(allocation);
      REQUIRE(threw == failed);
      REQUIRE(after == before);
    }
    CHECK(allocation > 2);
  }
}
