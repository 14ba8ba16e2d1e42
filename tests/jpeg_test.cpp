// The walk over a JPEG's segments: a gray file is built by hand, then one thing is made wrong at a time.
#include <doctest/doctest.h>

#include "luxgrad/data/image.h"
#include "sample_pictures.h"

using namespace lux;
using samples::Bytes;

namespace {

struct Segment {
  uint8_t marker;
  Bytes payload;
};

enum Place : size_t { kTables, kFrame, kDc, kAc, kScan };

Bytes huffman(uint8_t slot, Bytes counts, const Bytes& symbols) {
  counts.insert(counts.begin(), slot);
  counts.resize(17);
  counts.insert(counts.end(), symbols.begin(), symbols.end());
  return counts;
}

/// One block, 8 x 8, of middle gray: each table has one code of one bit, for "same mean" and "end of block".
std::vector<Segment> gray_block() {
  Bytes ones(65, 1);
  ones[0] = 0;
  return {{0xDB, ones},
          {0xC0, {8, 0, 8, 0, 8, 1, 1, 0x11, 0}},
          {0xC4, huffman(0x00, {1}, {0})},
          {0xC4, huffman(0x10, {1}, {0})},
          {0xDA, {1, 1, 0, 0, 63, 0}}};
}

Bytes file_of(const std::vector<Segment>& segments, const Bytes& entropy_coded = {0x3F}) {
  Bytes bytes = {0xFF, 0xD8};
  for (const Segment& segment : segments) {
    const size_t length = segment.payload.size() + 2;
    for (const size_t byte : {size_t{0xFF}, size_t{segment.marker}, length >> 8, length & 255})
      bytes.push_back(static_cast<uint8_t>(byte));
    bytes.insert(bytes.end(), segment.payload.begin(), segment.payload.end());
  }
  bytes.insert(bytes.end(), entropy_coded.begin(), entropy_coded.end());
  bytes.insert(bytes.end(), {0xFF, 0xD9});
  return bytes;
}

Bytes with_payload(Place place, Bytes payload) {
  std::vector<Segment> segments = gray_block();
  segments[place].payload = std::move(payload);
  return file_of(segments);
}

Bytes with_segment(Segment segment) {
  std::vector<Segment> segments = gray_block();
  segments.insert(segments.begin(), std::move(segment));
  return file_of(segments);
}

Bytes without(Place place) {
  std::vector<Segment> segments = gray_block();
  segments.erase(segments.begin() + static_cast<std::ptrdiff_t>(place));
  return file_of(segments);
}

Bytes named(std::string_view name, const Bytes& rest) {
  Bytes bytes(name.begin(), name.end());
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

}  // namespace

TEST_CASE("a block of gray, with padding, fill bytes and bytes behind the end") {
  const Bytes plain = file_of(gray_block());
  const Image image = decode_image(plain).value();
  CHECK(image.channels == 1);
  CHECK(image.samples == Bytes(64, 128));

  Bytes filled = plain;
  filled.insert(filled.begin() + 2, 3, 0xFF);
  CHECK(samples::refusal(filled) == "");
  Bytes longer = plain;
  longer.resize(longer.size() + 100);
  CHECK(samples::refusal(longer) == "");
  Bytes padded = with_segment({0xE5, {1, 2, 3}});
  padded.insert(padded.begin() + 9, 5, 0);
  CHECK(samples::refusal(padded) == "");
}

TEST_CASE("frame headers that cannot be decoded are refused by name") {
  const auto frame = [](Bytes payload) { return samples::refusal(with_payload(kFrame, std::move(payload))); };
  CHECK(frame({12, 0, 8, 0, 8, 1, 1, 0x11, 0}) == "is a JPEG of 12 bits, expected 8");
  CHECK(frame({8, 0, 8, 0, 8, 4, 1, 17, 0, 2, 17, 0, 3, 17, 0, 4, 17, 0}) ==
        "is a CMYK JPEG, expected gray or colour (YCbCr, RGB)");
  CHECK(frame({8, 0, 8, 0, 8, 2, 1, 17, 0, 2, 17, 0}) == "is a JPEG of 2 components, expected 1 or 3");
  CHECK(frame({8, 0, 8, 0, 8, 3, 1, 0x31, 0, 2, 0x21, 0, 3, 0x11, 0}) ==
        "is a JPEG with fractional chroma subsampling");
  CHECK(frame({8, 0, 0, 0, 8, 1, 1, 0x11, 0}) == "declares 8 x 0 pixels");
  for (const uint8_t sampling : Bytes{0x01, 0x10, 0x51, 0x15})
    CHECK(frame({8, 0, 8, 0, 8, 1, 1, sampling, 0}) == "is a damaged JPEG: frame header");
  CHECK(frame({8, 0, 8, 0, 8, 1, 1, 0x11, 4}) == "is a damaged JPEG: frame header");
  CHECK(frame({8, 0, 8, 0, 8, 1, 1, 0x11}) == "is a damaged JPEG: frame header");
  CHECK(samples::refusal(with_segment({0xC0, {8, 0, 8, 0, 8, 1, 1, 0x11, 0}})) ==
        "is a damaged JPEG: two frame headers");
  for (const auto& [marker, kind] :
       {std::pair{0xC3, "is a lossless JPEG"}, {0xC9, "is an arithmetic-coded JPEG"}}) {
    std::vector<Segment> segments = gray_block();
    segments[kFrame].marker = static_cast<uint8_t>(marker);
    CHECK(samples::refusal(file_of(segments)).find(kind) == 0);
  }
}

TEST_CASE("tables that do not make a code, or are missing, are refused") {
  const auto dc = [](Bytes payload) { return samples::refusal(with_payload(kDc, std::move(payload))); };
  const std::string table = "is a damaged JPEG: Huffman table";
  CHECK(dc(huffman(0x00, {2}, {0, 1})) == "");
  CHECK(dc(huffman(0x00, {3}, {0, 1, 2})) == table);  // three codes of one bit
  CHECK(dc(huffman(0x00, {0, 0, 0, 0, 0, 0, 0, 255, 2}, Bytes(257))) == table);
  CHECK(dc(huffman(0x00, {1, 1}, {0})) == table);  // a symbol is missing
  CHECK(dc(huffman(0x20, {1}, {0})) == table);
  CHECK(dc(huffman(0x04, {1}, {0})) == table);
  const std::string quantization = "is a damaged JPEG: quantization table";
  CHECK(samples::refusal(with_payload(kTables, Bytes(64))) == quantization);
  CHECK(samples::refusal(with_payload(kTables, Bytes(65, 0x20))) == quantization);
  CHECK(samples::refusal(without(kDc)) == "is a damaged JPEG: a scan without its Huffman table");
  CHECK(samples::refusal(without(kAc)) == "is a damaged JPEG: a scan without its Huffman table");
  CHECK(samples::refusal(without(kTables)) == "is a damaged JPEG: a scan without its quantization table");
}

TEST_CASE("scans must fit the frame") {
  const auto scan = [](Bytes payload) { return samples::refusal(with_payload(kScan, std::move(payload))); };
  CHECK(scan({1, 2, 0, 0, 63, 0}) == "is a damaged JPEG: a scan of an unknown component");
  for (const Bytes& payload : {Bytes{},
                               {0, 0, 63, 0},
                               {2, 1, 0, 1, 0, 0, 63, 0},
                               {1, 1, 0, 0, 62, 0},
                               {1, 1, 0, 1, 63, 0},
                               {1, 1, 0x40, 0, 63, 0},
                               {1, 1, 0, 0, 64, 0}})
    CHECK(scan(payload) == "is a damaged JPEG: scan header");
  CHECK(samples::refusal(without(kFrame)) == "is a damaged JPEG: a scan before the frame header");
  CHECK(samples::refusal(without(kScan)).find("is a damaged JPEG: a component without a scan") == 0);
  CHECK(samples::refusal(file_of({}, {})) == "is a damaged JPEG: no picture before the end marker");
}

TEST_CASE("a picture needs data and restart markers for all of its blocks") {
  CHECK(samples::refusal(file_of(gray_block(), {})) ==
        "has 0 bytes of JPEG data for 8 x 8 pixels, expected at least 1");
  std::vector<Segment> segments = gray_block();
  segments[kFrame].payload = {8, 0, 8, 0, 24, 1, 1, 0x11, 0};
  segments.insert(segments.begin(), {0xDD, {0, 1}});
  CHECK(samples::refusal(file_of(segments, {0x3F, 0xFF, 0xD0, 0x3F, 0xFF, 0xD1, 0x3F})) == "");
  CHECK(samples::refusal(file_of(segments, {0x3F, 0xFF, 0xD0, 0x3F})) ==
        "is a damaged JPEG: 1 restart markers, expected 2");
}

TEST_CASE("EXIF: the first block counts. ICC: parts in any order, all of them or none") {
  const std::string_view exif{"Exif\0\0", 6}, icc{"ICC_PROFILE\0", 12};
  std::vector<Segment> segments = gray_block();
  segments.insert(segments.begin(), {{0xE1, named("http://ns.adobe.com/xap/1.0/", {})},
                                     {0xE1, named(exif, {1, 2, 3})},
                                     {0xE1, named(exif, {4})},
                                     {0xE2, named(icc, {2, 2, 30, 40})},
                                     {0xE2, named(icc, {1, 2, 10, 20})}});
  Image image = decode_image(file_of(segments)).value();
  CHECK(image.exif == Bytes{1, 2, 3});
  CHECK(image.icc == Bytes{10, 20, 30, 40});
  segments.erase(segments.begin() + 4);
  image = decode_image(file_of(segments)).value();
  CHECK(image.icc.empty());
}
