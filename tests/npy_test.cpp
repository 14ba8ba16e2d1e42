// data/npy.h: what numpy writes reads as the same values; headers are understood exactly or refused.
#include "luxgrad/data/npy.h"

#include <doctest/doctest.h>

#include <string_view>

#include "luxgrad/data/file.h"
#include "luxgrad/data/zip_writer.h"
#include "luxgrad/tensor/random.h"
#include "same_bits.h"
#include "temporary_folder.h"
#include "zip_archive.h"

using namespace lux;

namespace {

using Values = std::vector<double>;

/// A .npy file of version 1 (or `version`) from the header's text and the array's bytes.
std::string npy(const std::string& header, const std::string& payload, int version = 1) {
  std::string file = "\x93NUMPY";
  file += {static_cast<char>(version), '\0'};
  for (int b = 0; b < (version == 1 ? 2 : 4); ++b) file += static_cast<char>(header.size() >> (8 * b));
  return file + header + payload;
}

std::string header_of(const std::string& type, const std::string& shape, const char* fortran = "False") {
  return cat("{'descr': '", type, "', 'fortran_order': ", fortran, ", 'shape': ", shape, ", }   \n");
}

std::string text_of(std::initializer_list<int> bytes) {
  std::string text;
  for (const int b : bytes) text += static_cast<char>(b);
  return text;
}

Tensor read(const std::string& file) { return parse_npy(bytes_of(file)).value(); }

std::string reason_of(const std::string& file) {
  const auto result = parse_npy(bytes_of(file));
  return result ? "accepted" : result.error().message();
}

}  // namespace

TEST_CASE("every element type reads in both byte orders") {
  struct Case {
    const char* type;
    std::string payload;
    DType kept;
    double value;
  };
  const Case cases[] = {
      {"<f4", text_of({0, 0, 0xc0, 0x3f}), DType::f32, 1.5},
      {">f4", text_of({0x3f, 0xc0, 0, 0}), DType::f32, 1.5},
      {"=f4", text_of({0, 0, 0xc0, 0x3f}), DType::f32, 1.5},
      {"<f8", text_of({0, 0, 0, 0, 0, 0, 0xf8, 0xbf}), DType::f64, -1.5},
      {">f8", text_of({0xbf, 0xf8, 0, 0, 0, 0, 0, 0}), DType::f64, -1.5},
      {"<f2", text_of({0, 0x3e}), DType::f16, 1.5},
      {">f2", text_of({0x3e, 0}), DType::f16, 1.5},
      {"|u1", text_of({200}), DType::u8, 200},
      {"<u1", text_of({200}), DType::u8, 200},
      {"|b1", text_of({1}), DType::u8, 1},
      {"|i1", text_of({200}), DType::i64, -56},
      {"<i2", text_of({0xfe, 0xff}), DType::i64, -2},
      {">i2", text_of({0xff, 0xfe}), DType::i64, -2},
      {"<u2", text_of({0xfe, 0xff}), DType::i64, 65534},
      {"<i4", text_of({0, 0, 0, 0x80}), DType::i64, -2147483648.0},
      {">u4", text_of({0x80, 0, 0, 0}), DType::i64, 2147483648.0},
      {"<i8", text_of({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), DType::i64, -1},
      {">i8", text_of({0, 0, 0, 0, 0, 0, 1, 0}), DType::i64, 256},
  };
  for (const Case& c : cases) {
    CAPTURE(c.type);
    const Tensor tensor = read(npy(header_of(c.type, "()"), c.payload));
    CHECK(tensor.dtype() == c.kept);
    CHECK(tensor.shape() == Shape{});
    CHECK(tensor.item() == c.value);
  }
}

TEST_CASE("Fortran order turns into C order") {
  // a[i, j, k] = 100 i + 10 j + k, first index fastest in the file
  std::string payload;
  for (const int k : {0, 1}) {
    for (const int j : {0, 1, 2}) {
      for (const int i : {0, 1}) payload += static_cast<char>(100 * i + 10 * j + k);
    }
  }
  const Values expected{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121};
  const Tensor tensor = read(npy(header_of("|u1", "(2, 3, 2)", "True"), payload));
  CHECK(tensor.shape() == Shape{2, 3, 2});
  CHECK(tensor.to_vector() == expected);
  CHECK(read(npy(header_of("|u1", "(2, 3, 2)"), payload)).to_vector() != expected);
}

TEST_CASE("shapes of all forms read, also empty arrays and versions 2 and 3") {
  CHECK(read(npy(header_of("|u1", "(3,)"), "abc")).shape() == Shape{3});
  CHECK(read(npy(header_of("|u1", "(3, 1)"), "abc")).shape() == Shape{3, 1});
  CHECK(read(npy(header_of("|u1", "(3,1,)"), "abc")).shape() == Shape{3, 1});
  CHECK(read(npy(header_of("<f4", "(5, 0)", "True"), "")).shape() == Shape{5, 0});
  CHECK(read(npy(header_of("|u1", "(1, 1, 1, 1, 1, 1, 1, 2)"), "ab")).numel() == 2);
  for (const int version : {2, 3})
    CHECK(read(npy(header_of("|u1", "(3,)"), "abc", version)).shape() == Shape{3});
  CHECK(read(npy(R"({"shape":(2,),"fortran_order":False,"descr":"|u1"})", "ab")).to_vector() ==
        Values{97, 98});
}

TEST_CASE("headers that are not exactly a header are refused") {
  const std::string dictionary = "the header is no dictionary of descr, fortran_order and shape (at byte ";
  const std::string type = "expected floats, bool, or integers of at most 64 bits other than u8";
  struct Case {
    std::string header, reason;
  };
  const auto u1 = [](const std::string& shape) { return header_of("|u1", shape); };
  const Case cases[] = {
      {"", dictionary + "10)"},
      {"()", dictionary + "10)"},
      {"{", dictionary + "11)"},
      {"{}", dictionary + "12)"},
      {"{'descr': '|u1', 'shape': (3,)}", dictionary + "41)"},
      {"{'descr': '|u1', 'fortran_order': False}", dictionary + "50)"},
      {"{'fortran_order': False, 'shape': (3,)}", dictionary + "49)"},
      {"{'descr': '|u1', 'descr': '|u1'}", dictionary + "35)"},
      {"{'descr': '|u1', 'extra': 1}", dictionary + "35)"},
      {"{'descr': u'|u1'}", dictionary + "20)"},
      {"{'descr' '|u1'}", dictionary + "19)"},
      {"{descr: '|u1'}", dictionary + "11)"},
      {"{'descr': '|u1}", dictionary + "21)"},
      {"{'de\\x73cr': '|u1'}", dictionary + "12)"},
      {"{'descr': [('a', '<f4')]}", dictionary + "20)"},
      {"{'descr': '|u1' 'fortran_order': False}", dictionary + "26)"},
      {"{'descr': '|u1',, 'fortran_order': False}", dictionary + "26)"},
      {header_of("|u1", "(3,)", "0"), dictionary + "44)"},
      {header_of("|u1", "(3,)", "true"), dictionary + "44)"},
      {header_of("|u1", "(3,)", "Falsey"), dictionary + "49)"},
      {u1("3"), dictionary + "60)"},
      {u1("(3)"), dictionary + "63)"},
      {u1("[3]"), dictionary + "60)"},
      {u1("(-3,)"), dictionary + "61)"},
      {u1("(3.0,)"), dictionary + "62)"},
      {u1("(0x3,)"), dictionary + "62)"},
      {u1("(03,)"), dictionary + "63)"},
      {u1("(3L,)"), dictionary + "62)"},
      {u1("(1 3,)"), dictionary + "63)"},
      {u1("(,)"), dictionary + "61)"},
      {u1("(3,,1)"), dictionary + "63)"},
      {u1("((3,),)"), dictionary + "61)"},
      {u1("(" + std::string(9000, '(') + "3"), dictionary + "61)"},
      {u1("(99999999999999999999,)"), dictionary + "79)"},
      {u1("(9223372036854775808,)"), dictionary + "79)"},
      {u1("(3,)") + "import os", dictionary + "71)"},
      {u1("(3,)") + std::string("\0", 1), dictionary + "71)"},
      {u1("(9223372036854775807, 2)"), "has a shape too large for any file"},
      {u1("(4294967296, 4294967296)"), "has a shape too large for any file"},
      {header_of("|i1", "(2305843009213693952,)"), "has a shape too large for any file"},
      {u1("(1, 1, 1, 1, 1, 1, 1, 1, 3)"), "has 9 dimensions, at most 8 are read"},
      {u1("(4,)"), "shape [4] of u1 needs 4 bytes, there are 3 (at byte 71)"},
      {u1("(1099511627776,)"),
       "shape [1099511627776] of u1 needs 1099511627776 bytes, there are 3 (at byte 83)"},
      {u1("(2,)"), "has bytes behind its array (at byte 73)"},
      {u1("()"), "has bytes behind its array (at byte 70)"},
      {header_of("|O", "(3,)"), "has elements of type \"|O\", " + type},
      {header_of("<c8", "(3,)"), "has elements of type \"<c8\", " + type},
      {header_of("<u8", "(3,)"), "has elements of type \"<u8\", " + type},
      {header_of("<U4", "(3,)"), "has elements of type \"<U4\", " + type},
      {header_of("|V2", "(3,)"), "has elements of type \"|V2\", " + type},
      {header_of("<M8[s]", "(3,)"), "has elements of type \"<M8[s]\", " + type},
      {header_of("f4", "(3,)"), "has elements of type \"f4\", " + type},
      {header_of("|f4", "(3,)"), "has elements of type \"|f4\", " + type},
      {header_of("<f16", "(3,)"), "has elements of type \"<f16\", " + type},
      {header_of("", "(3,)"), "has elements of type \"\", " + type},
      {u1("(3,)" + std::string(9939, ' ')), "accepted"},
      {u1("(3,)" + std::string(9940, ' ')),
       "the header has 10001 characters, at most 10000 are read (at byte 8)"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.header.substr(0, 100));
    CHECK(reason_of(npy(c.header, "abc")) == c.reason);
  }
  CHECK(reason_of(npy(u1("(3,)"), "abc")) == "accepted");
}

TEST_CASE("files that are no .npy, or end early, are refused") {
  const std::string file = npy(header_of("<f4", "(2,)"), "abcdefgh");
  for (size_t size = 0; size < file.size(); ++size) {
    CAPTURE(size);
    CHECK(reason_of(file.substr(0, size)) != "accepted");
  }
  CHECK(reason_of("PK\3\4 no array") == "is no .npy file (at byte 0)");
  CHECK(reason_of(file.substr(0, 9)) == "ends inside its header (at byte 9)");
  CHECK(reason_of(file.substr(0, 30)) == "ends inside its header (at byte 30)");
  CHECK(reason_of(npy("{}", "", 2).substr(0, 11)) == "ends inside its header (at byte 11)");
  CHECK(reason_of(npy("{}", "", 0)) == "has format version 0.0, expected 1.0 to 3.0 (at byte 6)");
  CHECK(reason_of(npy("{}", "", 4)) == "has format version 4.0, expected 1.0 to 3.0 (at byte 6)");
  auto minor = npy("{}", "");
  minor[7] = 1;
  CHECK(reason_of(minor) == "has format version 1.1, expected 1.0 to 3.0 (at byte 6)");
}

TEST_CASE("an archive written by numpy reads") {
  // numpy.savez_compressed: w = [[0, 1, 2], [3, 4, 5]] as <f4 in Fortran order, n = -5 as >i2
  constexpr std::string_view kHex =
      "504b03042d000000080000002100ce2ce0d3ffffffffffffffff05001400772e6e7079010010009800000000000000560000"
      "00000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f54529498179f5f94920a120f292a"
      "4d050a17672416a402b91a463a0ac69a3a0ab50ae4032e06307070606068b007620710878161810300504b03042d00000008"
      "0000002100da054aceffffffffffffffff050014006e2e6e707901001000820000000000000044000000000000009bec17ea"
      "1b10c9c850c650ad9e925a9c5ca46ea5a06e9769a4aea3a09e965f54529498179f5f94920a12774bcc294e058a17672416a4"
      "02f91a9a3a0ab50a1401aeffbf01504b01022d032d000000080000002100ce2ce0d356000000980000000500000000000000"
      "00000000800100000000772e6e7079504b01022d032d000000080000002100da054ace440000008200000005000000000000"
      "000000000080018d0000006e2e6e7079504b0506000000000200020066000000080100000000";
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < kHex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(kHex.substr(i, 2)), nullptr, 16)));
  }
  const auto arrays = parse_npz(bytes).value();
  REQUIRE(arrays.size() == 2);
  CHECK(arrays.at("w").shape() == Shape{2, 3});
  CHECK(arrays.at("w").to_vector() == Values{0, 1, 2, 3, 4, 5});
  CHECK(arrays.at("n").item() == -5);
  for (size_t i = 0; i < bytes.size(); ++i) {  // every damaged byte is noticed, except times and attributes
    auto damaged = bytes;
    damaged[i] ^= 0xff;
    const auto result = parse_npz(damaged);
    if (result) CHECK(result.value().at("w").to_vector() == arrays.at("w").to_vector());
  }
}

TEST_CASE("archives with anything but arrays are refused, the entry named") {
  const auto reason = [](const ZipArchive& zip) {
    const auto result = parse_npz(zip.bytes);
    return result ? "accepted" : result.error().message();
  };
  const std::string good = npy(header_of("|u1", "(3,)"), "abc");
  CHECK(reason(zip_archive({{"a.npy", good}, {"folder/b.npy", good, true}})) == "accepted");
  CHECK(reason(zip_archive({{"a.txt", "x"}})) == "holds a.txt, which is no .npy (at byte 35)");
  CHECK(reason(zip_archive({{"a.npy", good.substr(1)}})) == "entry a.npy: is no .npy file (at byte 35)");
  CHECK(reason(zip_archive({{"a.npy", good + "d", true}})) ==
        "entry a.npy: has bytes behind its array (at byte 35)");
}

TEST_CASE("a bomb is refused before it is inflated") {
  const std::string zeros(1 << 20, '\0');
  const ZipArchive bomb = zip_archive({{"a.npy", npy(header_of("|u1", "(1048576,)"), zeros), true}});
  CHECK(bomb.bytes.size() < 3000);
  CHECK(parse_npz(bomb.bytes).value().at("a").numel() == 1 << 20);
  const auto result = parse_npz(bomb.bytes, {.total_bytes = 1 << 20});
  REQUIRE_FALSE(result);
  CHECK(result.error().code == FileErrorCode::too_large);
}

TEST_CASE("files are loaded, and errors name them") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "w.npy", archive = folder.path() / "w.npz";
  const std::string good = npy(header_of("|u1", "(3,)"), "abc");
  REQUIRE(write_file_atomically(path, bytes_of(good)));
  REQUIRE(write_file_atomically(archive, zip_archive({{"a.npy", good}}).bytes));
  CHECK(load_npy(path).to_vector() == Values{97, 98, 99});
  CHECK(load_npz(archive).at("a").to_vector() == Values{97, 98, 99});
  CHECK_THROWS_WITH_AS(load_npz(path), (path + ": is no ZIP archive, or has bytes behind its end").c_str(),
                       FileException);
  CHECK_THROWS_WITH_AS(load_npy(archive), (archive + ": is no .npy file (at byte 0)").c_str(), FileException);
}

TEST_CASE("an archive that goes into a file in pieces has the bytes of one that is made in memory") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "a.npz";
  Tensor large = empty({700, 1000}), small = empty({3, 5});
  Generator generator{1};
  for (const Tensor& array : {large, small}) fill_uniform_(array, 0, 1, generator);
  NewFile file = NewFile::create(path).value();
  ZipWriter archive(file);
  for (const auto& [name, array] : {std::pair{"a.npy", large}, {"b.npy", small}}) {
    const std::vector<uint8_t> header = npy_header(array.shape());
    const std::span elements(static_cast<const uint8_t*>(array.raw()),
                             static_cast<size_t>(array.numel()) * sizeof(float));
    archive.begin(name, static_cast<int64_t>(header.size() + elements.size()));
    archive.write(header);
    constexpr size_t kPiece = 100000;
    for (size_t at = 0; at < elements.size(); at += kPiece)
      archive.write(elements.subspan(at, std::min(kPiece, elements.size() - at)));
  }
  CHECK(archive.finish().empty());
  CHECK(file.keep().value());
  CHECK(read_file(path).value() == serialize_npz({{"a", large}, {"b", small}}));
}

// By hand, from PKWARE's APPNOTE 6.3: what `parse_zip` refuses and NumPy reads.
TEST_CASE("numbers that are too large for 32 bits stand in zip64 fields") {
  const TemporaryFolder folder;
  const auto archive = [&](const std::string& name, int64_t narrow) {
    const std::string path = folder.path() / name;
    NewFile file = NewFile::create(path).value();
    ZipWriter zip(file, narrow);
    for (const std::string content : {"aaaaaaaa", "bb"}) {
      zip.begin(content.substr(0, 1), static_cast<int64_t>(content.size()));
      zip.write(bytes_of(content));
    }
    zip.finish();
    CHECK(file.keep().value());
    return read_file(path).value();
  };
  const std::vector<uint8_t> plain = archive("plain.zip", ZipWriter::kNarrow);
  const std::vector<ZipEntry> entries = parse_zip(plain).value();
  REQUIRE(entries.size() == 2);

  std::vector<uint8_t> expected;
  const auto put = [&](int width, std::initializer_list<uint64_t> numbers) {
    for (const uint64_t number : numbers)
      for (int b = 0; b < width; ++b) expected.push_back(static_cast<uint8_t>(number >> (8 * b)));
  };
  const uint64_t elsewhere = 0xffffffff;
  const std::array<uint64_t, 2> sizes{entries[0].compressed.size(), entries[1].compressed.size()};
  // Of 4 bytes only the first entry's size is too large; its place is not, and that of the second is.
  put(4, {0x04034b50});
  put(2, {45, 0, 8, 0, 33});
  put(4, {entries[0].crc, elsewhere, elsewhere});
  put(2, {1, 20});
  put(1, {'a'});
  put(2, {1, 16});
  put(8, {8, sizes[0]});
  expected.insert(expected.end(), entries[0].compressed.begin(), entries[0].compressed.end());
  const uint64_t second = expected.size();
  put(4, {0x04034b50});
  put(2, {45, 0, 8, 0, 33});
  put(4, {entries[1].crc, sizes[1], 2});
  put(2, {1, 0});
  put(1, {'b'});
  expected.insert(expected.end(), entries[1].compressed.begin(), entries[1].compressed.end());
  const uint64_t directory = expected.size();
  put(4, {0x02014b50});
  put(2, {45, 45, 0, 8, 0, 33});
  put(4, {entries[0].crc, elsewhere, elsewhere});
  put(2, {1, 20, 0, 0, 0});
  put(4, {0, 0});
  put(1, {'a'});
  put(2, {1, 16});
  put(8, {8, sizes[0]});
  put(4, {0x02014b50});
  put(2, {45, 45, 0, 8, 0, 33});
  put(4, {entries[1].crc, sizes[1], 2});
  put(2, {1, 12, 0, 0, 0});
  put(4, {0, elsewhere});
  put(1, {'b'});
  put(2, {1, 8});
  put(8, {second});
  const uint64_t end = expected.size();
  put(4, {0x06064b50});
  put(8, {44});
  put(2, {45, 45});
  put(4, {0, 0});
  put(8, {2, 2, end - directory, directory});
  put(4, {0x07064b50, 0});
  put(8, {end});
  put(4, {1, 0x06054b50});
  put(2, {0, 0, 2, 2});
  put(4, {end - directory, elsewhere});
  put(2, {0});
  CHECK(archive("wide.zip", 4) == expected);
  CHECK_FALSE(parse_zip(expected));
}

TEST_CASE("an archive that is written reads as the arrays that went in") {
  std::map<std::string, Tensor> arrays = {{"scalar", from_vector({7}, {})}, {"none", zeros({3, 0, 2})}};
  for (const DType dtype : {DType::f16, DType::f32, DType::f64, DType::u8, DType::i64})
    arrays[cat("folder/", name_of(dtype))] = from_vector({0, 1, 2, 3, 4, 5}, {2, 3}, {dtype, kCpu});
  const auto bytes = serialize_npz(arrays);
  const auto read = parse_npz(bytes).value();
  REQUIRE(read.size() == arrays.size());
  for (const auto& array : arrays) {
    CAPTURE(array.first);
    CHECK(same_bits(read.at(array.first), array.second));
  }
  CHECK(serialize_npz(arrays) == bytes);
  CHECK_THROWS_WITH_AS(serialize_npz({{"w", zeros({1}, {DType::bf16, kCpu})}}),
                       "npy: expected a type that NumPy has, got bf16", Error);
}
