// data/picture_pack.h: what is packed comes back to the bit, as bytes that NumPy's own format descriptions
// allow, and damaged or strange packs are refused.
#include "luxgrad/data/picture_pack.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstring>
#include <filesystem>
#include <limits>

#include "error_of.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/layout.h"
#include "luxgrad/data/loader.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/scan.h"
#include "luxgrad/data/sha256.h"
#include "same_bits.h"
#include "temporary_folder.h"
#include "zip_archive.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

Image noise(int64_t width, int64_t height, uint64_t seed) {
  Image image;
  image.allocate(width, height, 3, 8);
  Generator generator(seed, "picture_pack_test");
  for (uint8_t& sample : image.samples) sample = static_cast<uint8_t>(generator.below(256));
  return image;
}

/// Three pairs 10 x 6, and a pack of them at another size.
struct Packed {
  explicit Packed(int64_t height = 4, int64_t width = 5) {
    for (const char* part : {"low", "high"}) fs::create_directory(folder.path() / part);
    for (uint64_t i = 0; i < 3; ++i) {
      save_image(folder.path() / "low" / cat(i, ".png"), noise(10, 6, i));
      save_image(folder.path() / "high" / cat(i, ".png"), noise(10, 6, 100 + i));
    }
    pairs = paired_folder(folder.path() / "low", folder.path() / "high");
    bytes = save_picture_pack(path, pairs, height, width, [this](const std::string&) { ++told; });
  }
  TemporaryFolder folder{in_memory()};
  std::string path = folder.path() / "pairs.npz";
  PictureList pairs;
  int64_t bytes = 0;
  int told = 0;
};

uint32_t little(const std::vector<uint8_t>& bytes, size_t at, int width) {
  uint32_t value = 0;
  for (int b = width - 1; b >= 0; --b) value = value << 8 | bytes.at(at + static_cast<size_t>(b));
  return value;
}

std::string npy(const std::string& type, const std::string& shape, const std::string& payload) {
  const std::string header = cat("{'descr': '", type, "', 'fortran_order': False, 'shape': ", shape, ", }\n");
  std::string file = "\x93NUMPY\x01";
  file += '\0';
  file += static_cast<char>(header.size());
  file += '\0';
  return file + header + payload;
}

std::string refusal(std::initializer_list<ZipItem> items) {
  const auto pack = parse_picture_pack(zip_archive(items).bytes);
  return pack ? "accepted" : pack.error().message();
}

}  // namespace

TEST_CASE("a pack holds the nearest pixels of every pair, references first") {
  const Packed packed;
  CHECK(packed.told == 3);
  CHECK(packed.bytes == static_cast<int64_t>(fs::file_size(packed.path)));
  const auto arrays = load_npz(packed.path);
  REQUIRE(arrays.size() == 2);
  for (const auto& [array, part] : {std::pair("arr_0", "high"), std::pair("arr_1", "low")}) {
    const Tensor& all = arrays.at(array);
    CHECK(all.dtype() == DType::f32);
    REQUIRE(all.shape() == Shape{3, 4, 5, 3});
    for (int64_t i = 0; i < 3; ++i) {
      const Image image = load_image(packed.folder.path() / part / cat(i, ".png"));
      bool same = true;
      for (int64_t y = 0; y < 4; ++y) {
        for (int64_t x = 0; x < 5; ++x) {
          const int64_t row = (2 * y + 1) * 6 / 8, column = (2 * x + 1) * 10 / 10;  // floor((i + ½)·in/out)
          for (int64_t c = 0; c < 3; ++c) {
            const auto got = all.data<float>()[((i * 4 + y) * 5 + x) * 3 + c];
            same = same && got == static_cast<float>(image.row(row)[column * 3 + c]);
          }
        }
      }
      CHECK(same);
    }
  }
}

TEST_CASE("the bytes are those of the ZIP and NPY specifications") {
  const Packed packed;
  const std::vector<uint8_t> bytes = read_file(packed.path).value();
  const size_t content = 128 + 3 * 4 * 5 * 3 * 4, name = 9;
  size_t at = 0;
  for (const char* const expected : {"arr_0.npy", "arr_1.npy"}) {
    CHECK(little(bytes, at, 4) == 0x04034b50);
    CHECK(little(bytes, at + 4, 2) == 20);  // needs version 2.0
    CHECK(little(bytes, at + 6, 2) == 0);   // no flags: sizes stand here
    CHECK(little(bytes, at + 8, 2) == 8);   // deflated
    CHECK(little(bytes, at + 22, 4) == content);
    CHECK(little(bytes, at + 26, 4) == name);  // and no extra field
    CHECK(std::memcmp(bytes.data() + at + 30, expected, name) == 0);
    const uint32_t compressed = little(bytes, at + 18, 4);
    std::vector<uint8_t> array(content + 1);
    z_stream stream{};
    REQUIRE(inflateInit2(&stream, -MAX_WBITS) == Z_OK);
    stream.next_in = const_cast<Bytef*>(bytes.data() + at + 30 + name);
    stream.avail_in = compressed;
    stream.next_out = array.data();
    stream.avail_out = static_cast<uInt>(array.size());
    CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
    CHECK(stream.total_out == content);
    CHECK(stream.avail_in == 0);
    inflateEnd(&stream);
    CHECK(crc32(0, array.data(), static_cast<uInt>(content)) == little(bytes, at + 14, 4));
    CHECK(std::memcmp(array.data(), "\x93NUMPY\x01\x00\x76\x00", 10) == 0);
    const std::string header(array.begin() + 10, array.begin() + 128);
    CHECK(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5, 3), } "));
    CHECK(header.ends_with(" \n"));
    at += 30 + name + compressed;
  }
  CHECK(little(bytes, at, 4) == 0x02014b50);
  const size_t end = bytes.size() - 22;
  CHECK(little(bytes, end, 4) == 0x06054b50);
  CHECK(little(bytes, end + 10, 2) == 2);
  CHECK(little(bytes, end + 16, 4) == at);
  CHECK(little(bytes, end + 12, 4) == end - at);
  const std::vector<uint8_t> before = bytes;
  save_picture_pack(packed.path, packed.pairs, 4, 5, [](const std::string&) {});
  CHECK(read_file(packed.path).value() == before);
}

TEST_CASE("headers of arrays of any rank are those of NumPy") {
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{1000000, 2, 3}, Shape{1, 1, 1, 1, 1, 1, 1, 1}}) {
    std::vector<uint8_t> file = npy_header(shape);
    CHECK(file.size() % 64 == 0);
    if (shape.numel() > 100) continue;
    file.resize(file.size() + static_cast<size_t>(shape.numel()) * 4);
    CHECK(parse_npy(file).value().shape() == shape);
  }
}

TEST_CASE("a dataset of a pack gives the pictures that went in, in order") {
  const Packed packed(6, 10);  // the pictures' own size
  const Dataset dataset = open_dataset(packed.path);
  CHECK(dataset.found == "3 pairs of 10 x 6 in pairs.npz");
  CHECK(has_references(packed.path));
  REQUIRE(dataset.pictures.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(dataset.pictures[i].name == std::to_string(i));
    const PicturePair pair = read_pair(dataset.pictures[i]), file = read_pair(packed.pairs[i]);
    CHECK(same_bits(pair.low, file.low));
    CHECK(same_bits(pair.high, file.high));
  }
}

TEST_CASE("the loader makes the same batches of a pack and of its folders") {
  const Packed packed(6, 10);
  LoaderOptions options{.batch_size = 2, .size = 4, .random_squares = true, .repeats = 3, .seed = 9};
  Loader files(packed.pairs, options), pack(open_dataset(packed.path).pictures, options);
  for (int i = 0; i < 6; ++i) {
    const Batch left = files.next(), right = pack.next();
    CHECK(same_bits(left.low, right.low));
    CHECK(same_bits(left.high, right.high));
  }
}

TEST_CASE("a scan of a pack is its one file") {
  const Packed packed;
  const DatasetScan scan = scan_dataset(packed.path);
  CHECK(scan.bad == 0);
  CHECK(scan.pictures.size() == 3);
  REQUIRE(scan.files.size() == 1);
  CHECK(scan.files[0].name == "pairs.npz");
  CHECK(scan.files[0].width == 5);
  CHECK(scan.files[0].height == 4);
  CHECK(scan.files[0].sha256 == sha256(read_file(packed.path).value()));
}

TEST_CASE("packs of other makers: any element type, stored, fractions") {
  const auto bytes_as = [](auto value, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text.append(reinterpret_cast<const char*>(&value), sizeof value);
    return text;
  };
  const std::string shape = "(2, 1, 1, 3)";
  const auto first = [](std::initializer_list<ZipItem> items) {
    return parse_picture_pack(zip_archive(items).bytes).value().low(1).to_vector()[0];
  };
  const ZipItem high{"arr_0.npy", npy("<f4", shape, bytes_as(51.0f, 6)), true};
  CHECK(first({high, {"arr_1.npy", npy("|u1", shape, std::string(6, '\x33'))}}) ==
        doctest::Approx(0.2).epsilon(1e-7));
  CHECK(first({{"arr_1.npy", npy("<f8", shape, bytes_as(25.5, 6)), true}, high}) ==
        doctest::Approx(0.1).epsilon(1e-7));
  CHECK(first({high, {"arr_1.npy", npy("<i2", shape, bytes_as(int16_t{255}, 6))}}) == 1);
}

TEST_CASE("what is no pack of pictures is refused") {
  const auto f4 = [](float value, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text.append(reinterpret_cast<const char*>(&value), sizeof value);
    return text;
  };
  const std::string good = npy("<f4", "(2, 1, 1, 3)", f4(7, 6));
  CHECK(refusal({{"arr_0.npy", good}, {"arr_1.npy", good}}) == "accepted");
  CHECK(refusal({{"arr_0.npy", good}}) == "has no array arr_1");
  CHECK(refusal({{"low.npy", good}, {"arr_1.npy", good}}) == "has no array arr_0");
  CHECK(refusal({{"arr_0.npy", good}, {"arr_1.npy", npy("<f4", "(1, 1, 2, 3)", f4(7, 6))}}) ==
        "has dark pictures [1, 1, 2, 3], references [2, 1, 1, 3]");
  CHECK(refusal({{"arr_0.npy", npy("<f4", "(2, 1, 3)", f4(7, 6))}, {"arr_1.npy", good}}) ==
        "arr_0: expected pictures [N, H, W, 3], got [2, 1, 3]");
  CHECK(refusal({{"arr_0.npy", good}, {"arr_1.npy", npy("<f4", "(1, 1, 1, 4)", f4(7, 4))}}) ==
        "arr_1: expected pictures [N, H, W, 3], got [1, 1, 1, 4]");
  CHECK(refusal({{"arr_0.npy", npy("<f4", "(0, 1, 1, 3)", "")}, {"arr_1.npy", good}}) ==
        "arr_0: expected pictures [N, H, W, 3], got [0, 1, 1, 3]");
  for (const float wrong : {-1.0f, 255.5f, std::numeric_limits<float>::quiet_NaN()}) {
    CHECK(refusal({{"arr_0.npy", npy("<f4", "(2, 1, 1, 3)", f4(wrong, 6))}, {"arr_1.npy", good}}) ==
          "arr_0: has values outside 0 to 255");
  }
  CHECK(refusal({{"arr_0.npy", good}, {"arr_1.npy", good}, {"arr_2.npy", good}}) != "accepted");
}

TEST_CASE("every cut of a pack is refused, and the file named") {
  const Packed packed;
  const std::vector<uint8_t> whole = read_file(packed.path).value();
  for (size_t size = 0; size < whole.size(); size += 37)
    CHECK_FALSE(parse_picture_pack(std::span(whole).first(size)));
  fs::resize_file(packed.path, whole.size() - 1);
  CHECK(error_of([&] { open_dataset(packed.path); }).starts_with(packed.path + ": "));
  CHECK(error_of([&] { open_dataset(packed.path + "absent.npz"); }) ==
        packed.path + "absent.npz: cannot be opened: No such file or directory");
}

TEST_CASE("what cannot be packed is refused, and nothing is written") {
  const Packed packed;
  const std::string other = packed.folder.path() / "other.npz";
  const auto packing = [&](const PictureList& pairs, int64_t side) {
    return error_of([&] { save_picture_pack(other, pairs, side, side, [](const std::string&) {}); });
  };
  CHECK(packing({}, 4) == "pack: expected at least one pair of pictures");
  CHECK(packing({{"0", packed.pairs[0].low, ""}}, 4) == "pack: expected a reference for 0");
  CHECK(packing(packed.pairs, 16384) ==
        "pack: expected at most 4294967296 bytes of pictures, got 19327353088");
  save_image(packed.pairs[1].high, noise(9, 6, 1));
  CHECK(packing(packed.pairs, 4) == packed.pairs[1].low + ": is 10 x 6, its reference 9 x 6");
  CHECK_FALSE(fs::exists(other));
}
