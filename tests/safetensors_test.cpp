// data/safetensors.h: what is written reads back bit for bit, and whatever the format forbids is refused with
// its own reason.
#include "luxgrad/data/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>

#include "luxgrad/data/file.h"
#include "luxgrad/tensor/random.h"
#include "same_bits.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

/// A file from its header text and the number of payload bytes.
std::vector<uint8_t> file_of(const std::string& header, size_t payload = 0) {
  std::vector<uint8_t> bytes(8 + header.size() + payload, 0x40);
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

std::string reason_of(std::span<const uint8_t> bytes, const SafetensorsLimits& limits = {}) {
  const auto result = parse_safetensors(bytes, limits);
  if (result) return "accepted";
  return result.error().message();
}

/// Random bits, so every pattern occurs, NaN with payload and negative zero among them.
TensorFile random_file(Generator& generator) {
  constexpr DType kTypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::u8, DType::i64};
  TensorFile file;
  const auto count = static_cast<int>(generator.below(8));
  for (int i = 0; i < count; ++i) {
    int64_t sizes[8];
    const auto rank = static_cast<int64_t>(generator.below(9));
    for (int64_t d = 0; d < rank; ++d) sizes[d] = static_cast<int64_t>(generator.below(rank > 4 ? 3 : 6));
    const Tensor tensor = empty(Shape(sizes, sizes + rank), {kTypes[generator.below(6)], kCpu});
    auto* const bytes = static_cast<uint8_t*>(tensor.raw());
    const int64_t size = tensor.numel() * static_cast<int64_t>(size_of(tensor.dtype()));
    for (int64_t b = 0; b < size; ++b) bytes[b] = static_cast<uint8_t>(generator.next());
    file.tensors["tensor \"" + std::to_string(generator.below(1000)) + "\"\n\xc3\xa9"] = tensor;
  }
  if (generator.below(2) == 1) file.metadata = {{"config", "{\"a\": [1, 2]}"}, {"k\x01", ""}, {"", "v\\"}};
  return file;
}

}  // namespace

TEST_CASE("random files read back bit for bit") {
  Generator generator(1, "safetensors");
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    const TensorFile file = random_file(generator);
    const auto bytes = serialize_safetensors(file);
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    REQUIRE(length % 8 == 0);
    const TensorFile back = parse_safetensors(bytes).value();
    REQUIRE(back.metadata == file.metadata);
    REQUIRE(back.tensors.size() == file.tensors.size());
    for (const auto& [name, tensor] : file.tensors) {
      REQUIRE(back.tensors.contains(name));
      REQUIRE(same_bits(back.tensors.at(name), tensor));
    }
    REQUIRE(serialize_safetensors(back) == bytes);
  }
}

TEST_CASE("every truncation and every extra byte is refused") {
  TensorFile file;
  file.tensors["w"] = from_vector({1, 2, 3}, {3});
  file.tensors["scalar"] = from_vector({4}, {}, {DType::f64, kCpu});
  file.metadata["format"] = "pt";
  auto bytes = serialize_safetensors(file);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(reason_of({bytes.data(), size}) != "accepted");
  }
  bytes.push_back(0);
  CHECK(reason_of(bytes).starts_with("has 1 bytes after its last tensor"));
}

TEST_CASE("flipped header bits are refused or change what the header says") {
  TensorFile file;
  file.tensors["w"] = from_vector({1, 2, 3}, {3});
  const auto bytes = serialize_safetensors(file);
  const size_t header_end = bytes.size() - 12;
  for (size_t bit = 0; bit < 8 * header_end; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ (1u << bit % 8));
    const auto result = parse_safetensors(damaged);
    if (result) CHECK_FALSE(result.value().tensors.empty());
  }
}

TEST_CASE("what other writers write is read") {
  const auto file =
      parse_safetensors(file_of(R"({"b":{"shape":[1,2],"data_offsets":[4,12],"dtype":"F32"},)"
                                R"("__metadata__":{"format":"pt"},)"
                                R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                                R"("none":{"dtype":"I64","shape":[7,0],"data_offsets":[4,4]}}   )",
                                12))
          .value();
  CHECK(file.metadata.at("format") == "pt");
  CHECK(file.tensors.at("a").shape() == Shape{4});
  CHECK(file.tensors.at("b").data<float>()[1] == 3.00392151f);  // bytes 40 40 40 40, unaligned in the file
  CHECK(file.tensors.at("none").shape() == Shape{7, 0});
  CHECK(parse_safetensors(file_of("{}")).value().tensors.empty());
}

TEST_CASE("what the format forbids is refused with its own reason") {
  const std::string w = R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const auto with = [](const char* dtype, const char* shape, const char* offsets) {
    return cat(R"({"w":{"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)", offsets, "}}");
  };
  const auto f32 = [&](const char* shape, const char* offsets) { return with(R"("F32")", shape, offsets); };
  std::vector<uint8_t> claims_all(8, 0xff), claims_more = file_of("{}");
  claims_more[0] = 3;
  struct Case {
    std::vector<uint8_t> bytes;
    std::string reason;
  };
  const std::string deep(5000, '[');
  const Case cases[] = {
      {{}, "is too short for a safetensors file (at byte 0)"},
      {{2, 0, 0, 0, 0, 0, 0}, "is too short for a safetensors file (at byte 0)"},
      {claims_all,
       "the header claims 18446744073709551615 bytes, at most 16777216 are read (is this a "
       "safetensors file?) (at byte 0)"},
      {claims_more, "the header claims 3 bytes, the file has 2 (at byte 0)"},
      {std::vector<uint8_t>(8, 0), "the header is no JSON object (at byte 8)"},
      {file_of(" {}"), "the header is no JSON object (at byte 8)"},
      {file_of("[]"), "the header is no JSON object (at byte 8)"},
      {file_of("{"), "the header is not valid JSON (at byte 10)"},
      {file_of("{}x"), "the header is not valid JSON (at byte 11)"},
      {file_of(std::string("{}\0", 3)), "the header has a zero byte (at byte 10)"},
      {file_of("{\"\xff\":1}"), "the header is not valid JSON (at byte 11)"},
      {file_of("{/**/}"), "the header is not valid JSON (at byte 10)"},
      {file_of("{" + w + ",}", 8), "the header is not valid JSON (at byte 63)"},
      {file_of("{" + w + "," + w + "}", 8), "the header has \"w\" twice"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})"), "the header has \"__metadata__\" twice"},
      {file_of(R"({"__metadata__":{"a":"1","a":"1"}})"), "the metadata have \"a\" twice"},
      {file_of(R"({"__metadata__":{"a":1}})"), "\"a\" of \"__metadata__\": did not expect a number"},
      {file_of(R"({"__metadata__":{"a":{}}})"), "\"a\" of \"__metadata__\": did not expect an object"},
      {file_of(R"({"__metadata__":null})"), "\"__metadata__\" is null, expected an object"},
      {file_of(R"({"w":[]})"), "\"w\" is a list, expected an object"},
      {file_of(R"({"w":true})"), "\"w\" is a boolean, expected an object"},
      {file_of(R"({"w":{"shape":[],"data_offsets":[0,4]}})", 4), "tensor \"w\" has no dtype"},
      {file_of(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4), "tensor \"w\" has no shape"},
      {file_of(R"({"w":{"dtype":"F32","shape":[]}})", 4), "tensor \"w\" has no data_offsets"},
      {file_of(R"({"w":{"dtype":"F32","dtype":"F32"}})"), "tensor \"w\" has dtype twice"},
      {file_of(R"({"w":{"strides":[1]}})"), "tensor \"w\" has an unknown property \"strides\""},
      {file_of(with(R"("F8_E5M2")", "[]", "[0,1]"), 1),
       "tensor \"w\" has dtype \"F8_E5M2\", expected F32, F64, BF16, F16, U8 or I64"},
      {file_of(with(R"("f32")", "[]", "[0,4]"), 4),
       "tensor \"w\" has dtype \"f32\", expected F32, F64, BF16, F16, U8 or I64"},
      {file_of(with("32", "[]", "[0,4]"), 4), "\"dtype\" of \"w\": did not expect a number"},
      {file_of(with(R"(["F32"])", "[]", "[0,4]"), 4), "\"dtype\" of \"w\": did not expect a list"},
      {file_of(f32("2", "[0,8]"), 8), "\"shape\" of \"w\": did not expect a number"},
      {file_of(f32(R"("2")", "[0,8]"), 8), "\"shape\" of \"w\": did not expect a string"},
      {file_of(f32("[-2]", "[0,8]"), 8), "\"shape\" of \"w\": did not expect a negative number"},
      {file_of(f32("[2.0]", "[0,8]"), 8),
       "\"shape\" of \"w\": did not expect a number that is no 64-bit integer"},
      {file_of(f32("[18446744073709551616]", "[0,8]"), 8),
       "\"shape\" of \"w\": did not expect a number that is no 64-bit integer"},
      {file_of(f32("[[2]]", "[0,8]"), 8), "\"shape\" of \"w\": did not expect a list"},
      {file_of(f32(deep.c_str(), "[0,8]"), 8), "\"shape\" of \"w\": did not expect a list"},
      {file_of(f32("[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8), "tensor \"w\" has more than 8 sizes"},
      {file_of(f32("[2,9223372036854775808]", "[0,8]"), 8),
       "tensor \"w\" has a shape too large for any file"},
      {file_of(f32("[2,18446744073709551614]", "[0,8]"), 8),
       "tensor \"w\" has a shape too large for any file"},
      {file_of(f32("[4294967296,2147483648]", "[0,8]"), 8),
       "tensor \"w\" has a shape too large for any file"},
      {file_of(f32("[2]", "[0,8,16]"), 8), "tensor \"w\": expected two data_offsets, got 3"},
      {file_of(f32("[2]", "[]"), 8), "tensor \"w\": expected two data_offsets, got 0"},
      {file_of(f32("[3]", "[0,8]"), 8),
       "tensor \"w\": shape [3] of f32 needs 12 bytes, data_offsets are [0, 8]"},
      {file_of(f32("[2]", "[8,0]"), 8),
       "tensor \"w\": shape [2] of f32 needs 8 bytes, data_offsets are [8, 0]"},
      {file_of(f32("[2]", "[8,16]"), 16), "tensor \"w\" leaves a hole before it (at byte 63)"},
      {file_of("{" + w + R"(,"v":{"dtype":"U8","shape":[3],"data_offsets":[7,10]}})", 10),
       "tensor \"v\" overlaps another one (at byte 123)"},
      {file_of("{" + w + R"(,"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
       "tensor \"w\" overlaps another one (at byte 123)"},
      {file_of("{" + w + "}", 7), "ends inside tensor \"w\" (at byte 69)"},
      {file_of("{" + w + "}", 9), "has 1 bytes after its last tensor (at byte 70)"},
      {file_of("{}", 8), "has 8 bytes after its last tensor (at byte 10)"},
      {file_of("{\"" + std::string(200, 'n') + "\":1}"),
       ("\"" + std::string(97, 'n') + "...\" is a number, expected an object")},
      {file_of(R"({"\u001b[31m":1})"), "\"\\x1b[31m\" is a number, expected an object"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.bytes.begin(), c.bytes.end()));
    CHECK(reason_of(c.bytes) == c.reason);
  }
  CHECK(reason_of(file_of("{" + w + "}", 8)) == "accepted");
}

TEST_CASE("limits are kept") {
  TensorFile file;
  for (int i = 0; i < 5; ++i) file.tensors[std::to_string(i)] = zeros({1});
  const auto bytes = serialize_safetensors(file);
  CHECK(reason_of(bytes, {.tensors = 5}) == "accepted");
  CHECK(reason_of(bytes, {.tensors = 4}) == "has more than 4 tensors");
  const int64_t header = bytes[0] + 256 * bytes[1];
  CHECK(reason_of(bytes, {.header_bytes = header}) == "accepted");
  CHECK(reason_of(bytes, {.header_bytes = header - 1}) ==
        cat("the header claims ", header, " bytes, at most ", header - 1,
            " are read (is this a safetensors file?) (at byte 0)"));
}

TEST_CASE("files are saved and loaded, and errors name them") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "weights.safetensors";
  TensorFile file;
  file.tensors["w"] = from_vector({1, 2}, {2});
  save_safetensors(path, file);
  CHECK(same_bits(load_safetensors(path).tensors.at("w"), file.tensors.at("w")));
  REQUIRE(write_file_atomically(path, std::vector<uint8_t>(3)));
  CHECK_THROWS_WITH_AS(load_safetensors(path),
                       (path + ": is too short for a safetensors file (at byte 0)").c_str(), FileException);
  CHECK_THROWS_AS(load_safetensors(folder.path() / "none"), FileException);
  CHECK_THROWS_AS(save_safetensors(folder.path() / "none" / "w", file), FileException);
}

TEST_CASE("writing refuses names that no reader would take") {
  const auto write = [](const std::string& name) {
    TensorFile file;
    file.tensors[name] = zeros({1});
    return serialize_safetensors(file);
  };
  CHECK_THROWS_WITH(write("__metadata__"), "safetensors: no tensor can be named __metadata__");
  CHECK_THROWS_WITH(write("\xff"), "safetensors: expected names and metadata in UTF-8, got \"\\xff\"");
  TensorFile undefined;
  undefined.tensors["w"] = Tensor();
  CHECK_THROWS_WITH(serialize_safetensors(undefined), "safetensors: tensor w is undefined");
}
