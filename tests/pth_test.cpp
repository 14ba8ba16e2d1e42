// data/pth.h and data/tensor_file.h: what PyTorch writes reads as its values, in both containers; what it
// would not write is refused by name.
#include "luxgrad/data/pth.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/tensor_file.h"
#include "plain_pth.h"
#include "pth_file.h"
#include "same_bits.h"
#include "temporary_folder.h"

using namespace lux;
using pth::Bytes;

namespace {

std::string reason_of(std::span<const uint8_t> bytes, const PthLimits& limits = {}) {
  const auto result = parse_pth(bytes, limits);
  return result ? "accepted" : result.error().message();
}

bool begins_with(const std::string& text, const std::string& start) {
  INFO(text);
  CHECK(text.substr(0, start.size()) == start);
  return text.starts_with(start);
}

}  // namespace

TEST_CASE("every kind of element reads as its value, in both containers") {
  struct Row {
    const char* type;
    std::string bytes;
    size_t width;
    DType kept;
    std::vector<double> values;
  };
  const std::string minus(8, '\xff');
  const Row rows[] = {
      {"Float", pth::floats({1.5F, -2}), 4, DType::f32, {1.5, -2}},
      {"Double", std::string("\0\0\0\0\0\0\xf8\x3f", 8), 8, DType::f64, {1.5}},
      {"Half", std::string("\0\x3e", 2), 2, DType::f16, {1.5}},
      {"BFloat16", "\xc0\x3f", 2, DType::bf16, {1.5}},
      {"Long", minus, 8, DType::i64, {-1}},
      {"Int", minus, 4, DType::i64, {-1, -1}},
      {"Short", minus.substr(0, 4), 2, DType::i64, {-1, -1}},
      {"Char", "\xff\x7f", 1, DType::i64, {-1, 127}},
      {"Byte", "\xff\x7f", 1, DType::u8, {255, 127}},
      {"Bool", std::string("\0\1", 2), 1, DType::u8, {0, 1}},
  };
  for (const Row& row : rows) {
    const auto count = static_cast<int64_t>(row.values.size());
    const std::string value =
        pth::dict({{pth::text("w"), pth::tensor(pth::storage(row.type, "k", count), 0, {count}, {1})}});
    for (const Bytes& file : {pth::zip_file(value, {{"k", row.bytes}}),
                              pth::legacy_file(value, {{"k", row.bytes}}, {row.width})}) {
      CAPTURE(row.type);
      const TensorFile read = parse_pth(file).value();
      REQUIRE(read.tensors.size() == 1);
      CHECK(read.tensors.at("w").dtype() == row.kept);
      CHECK(read.tensors.at("w").to_vector() == row.values);
      CHECK(same_bits(parse_tensor_file(file)->tensors.at("w"), read.tensors.at("w")));
    }
  }
}

TEST_CASE("offsets and strides choose elements, and storages may be shared") {
  const std::string value = pth::dict({{pth::text("all"), pth::six(0, {2, 3}, {3, 1})},
                                       {pth::text("turned"), pth::six(0, {3, 2}, {1, 3})},
                                       {pth::text("tail"), pth::six(4, {2}, {1})},
                                       {pth::text("one"), pth::six(5, {}, {})},
                                       {pth::text("none"), pth::six(6, {0, 7}, {7, 1})},
                                       {pth::text("same"), pth::six(1, {4}, {0})}});
  for (const Bytes& file : {pth::zip_file(value, pth::kSix), pth::legacy_file(value, pth::kSix, {4})}) {
    const auto tensors = parse_pth(file)->tensors;
    CHECK(tensors.at("all").to_vector() == std::vector<double>{0, 1, 2, 3, 4, 5});
    CHECK(tensors.at("turned").to_vector() == std::vector<double>{0, 3, 1, 4, 2, 5});
    CHECK(tensors.at("turned").shape() == Shape{3, 2});
    CHECK(tensors.at("tail").to_vector() == std::vector<double>{4, 5});
    CHECK(tensors.at("one").item() == 5);
    CHECK(tensors.at("none").shape() == Shape{0, 7});
    CHECK(tensors.at("same").to_vector() == std::vector<double>{1, 1, 1, 1});
  }
}

TEST_CASE("tensors are named by the keys that lead to them; what is no tensor is passed over") {
  const std::string weights = pth::ordered_dict() + "(" + pth::text("a.weight") + pth::six(0, {6}, {1}) +
                              "u" + pth::dict({{pth::text("_metadata"), pth::ordered_dict()}}) +
                              "b";  // BUILD
  const std::string parameter = pth::call(pth::global("torch._utils", "_rebuild_parameter"),
                                          pth::tuple({pth::six(2, {1}, {1}), "\x88", pth::ordered_dict()}));
  const std::string older = pth::call(
      pth::global("torch._utils", "_rebuild_tensor"),
      pth::tuple({pth::storage("Float", "0", 6), pth::integer(3), pth::integers({1}), pth::integers({1})}));
  const std::string sized = pth::call(pth::global("torch", "Size"), pth::integers({2, 3}) + "\x85");
  const std::string pair = std::string("](") + "U\x01" + "b" + pth::six(4, {1}, {1}) + "e";
  const std::string python2 = pth::call(pth::global("collections", "OrderedDict"), "](" + pair + "e\x85");
  const std::string value =
      pth::dict({{pth::text("state_dict"), weights},
                 {pth::text("epoch"), pth::integer(-300)},
                 {pth::text("lr"), std::string("G?\xf0\0\0\0\0\0\0", 9)},
                 {pth::text("nothing"), "N"},
                 {pth::text("shape"), sized},
                 {pth::text("type"), pth::global("torch", "FloatStorage")},
                 {pth::text("device"), pth::call(pth::global("torch", "device"), pth::text("cpu") + "\x85")},
                 {pth::text("parameter"), parameter},
                 {pth::text("older"), older},
                 {pth::text("python2"), python2},
                 {pth::integer(7), "](" + pth::six(5, {1}, {1}) + "Ne"}});
  const auto tensors = parse_pth(pth::zip_file(value, pth::kSix)).value().tensors;
  std::map<std::string, double> first;
  for (const auto& [name, tensor] : tensors) first[name] = tensor.to_vector()[0];
  CHECK(first ==
        std::map<std::string, double>{
            {"state_dict/a.weight", 0}, {"parameter", 2}, {"older", 3}, {"python2/b", 4}, {"7/0", 5}});
}

TEST_CASE("values may be remembered and recalled") {
  const std::string value = "}r" + pth::little(70000, 4) + "(" + pth::text("w") + "q\1" +
                            pth::six(0, {6}, {1}) + "q\2" + pth::text("v") + "h\2u0";  // POP follows
  CHECK(begins_with(reason_of(pth::zip_file(value, pth::kSix)),
                    "has the pickle opcode 0x30 (POP), which weights do"));
  const auto tensors = parse_pth(pth::zip_file(value.substr(0, value.size() - 1), pth::kSix))->tensors;
  CHECK(same_bits(tensors.at("w"), tensors.at("v")));
}

TEST_CASE("legacy views see a part of their storage") {
  const auto view = [](int64_t offset, int64_t length) {
    return pth::tuple({pth::text("140"), pth::integer(offset), pth::integer(length)});
  };
  const auto file = [&](const std::string& part, int64_t offset, int64_t size) {
    return pth::legacy_file(
        pth::dict({{pth::text("w"), pth::tensor(pth::storage("Float", "0", 6, part), offset, {size}, {1})}}),
        pth::kSix, {4});
  };
  CHECK(parse_pth(file("N", 1, 5))->tensors.at("w").to_vector() == std::vector<double>{1, 2, 3, 4, 5});
  CHECK(parse_pth(file(view(2, 3), 1, 2))->tensors.at("w").to_vector() == std::vector<double>{3, 4});
  CHECK(begins_with(reason_of(file(view(2, 3), 1, 3)),
                    "a tensor reaches to element 4 of storage 0, which has 3"));
  CHECK(begins_with(reason_of(file(view(4, 3), 0, 1)), "a view reaches beyond its storage of 6 elements"));
  CHECK(begins_with(reason_of(file(view(INT64_MAX, 1), 0, 1)), "a view reaches beyond"));
  CHECK(begins_with(reason_of(file(view(1, INT64_MAX), 0, 1)), "a view reaches beyond"));
}

TEST_CASE("the checkpoints at hand read bit by bit as a plain walk over their bytes finds them") {
  const std::filesystem::path data = std::filesystem::path(LUX_SOURCE_DIR) / "../shared/data";
  int files = 0;
  for (const char* folder : {"weights", "tensors"}) {
    if (!std::filesystem::is_directory(data / folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(data / folder)) {
      const std::string path = entry.path();
      if (!path.ends_with(".pth") && !path.ends_with(".pt")) continue;
      ++files;
      CAPTURE(path);
      const TensorFile read = load_tensor_file(path);
      const auto plain = plain_pth::read(read_file(path).value());
      CHECK(read.tensors.size() == plain.size());
      for (const auto& named : plain) {
        const std::string& name = named.first;
        const plain_pth::Found& found = named.second;
        CAPTURE(name);
        const auto place = std::find_if(read.tensors.begin(), read.tensors.end(), [&](const auto& tensor) {
          return tensor.first == name || tensor.first.ends_with("/" + name);
        });
        REQUIRE(place != read.tensors.end());
        const Tensor& tensor = place->second;
        CHECK(std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end()) == found.sizes);
        const auto* const bytes = static_cast<const uint8_t*>(tensor.raw());
        CHECK(Bytes(bytes, bytes + static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype())) ==
              found.bytes);
      }
    }
  }
  if (files == 0)
    MESSAGE("skipped: no checkpoints in ", data.string());
  else
    MESSAGE(files, " checkpoints");
}

TEST_CASE("archives hold what PyTorch writes, and every byte is checked") {
  const std::string program = pth::pickle(pth::dict({{pth::text("w"), pth::six(0, {6}, {1})}}));
  const auto with = [&](const std::vector<ZipItem>& more, const pth::Storages& storages = pth::kSix) {
    return reason_of(pth::archive(program, storages, more).bytes);
  };
  CHECK(with({}) == "accepted");
  CHECK(with({{"root/byteorder", "little"},
              {"root/.data/serialization_id", "1"},
              {"root/.format_version", "1"}}) == "accepted");
  CHECK(begins_with(with({{"root/byteorder", "big"}}), "has numbers in another byte order"));
  CHECK(begins_with(with({{"root/code/net.py", ""}}), "is TorchScript, which is a program"));
  CHECK(begins_with(with({{"root/constants.pkl", ""}}), "is TorchScript"));
  CHECK(begins_with(with({{"other/version", "3"}}), "holds \"other/version\", which no checkpoint"));
  CHECK(begins_with(with({{"root/data/1", "abcd"}}), "nothing refers to storage 1"));
  CHECK(begins_with(with({{"root/notes", "zzz", true}}), "entry root/notes is compressed, expected stored"));
  CHECK(begins_with(with({}, {}), "has no storage 0"));
  CHECK(begins_with(reason_of(zip_archive({{"a.txt", "b"}}).bytes), "has no data.pkl"));
  CHECK(begins_with(reason_of(pth::archive(program + "N", pth::kSix).bytes), "has bytes behind its pickle"));
  CHECK(
      begins_with(reason_of(pth::archive("\x80\x04N.", {}).bytes), "is a pickle of protocol 4, expected 2"));
  CHECK(begins_with(reason_of(pth::archive("N.", {}).bytes), "is no pickle of protocol 2"));
  CHECK(begins_with(reason_of(pth::archive("", {}).bytes), "is no pickle of protocol 2"));

  const ZipArchive whole = pth::archive(program, pth::kSix);
  CHECK(reason_of(whole.with_zip64_record()) == "accepted");
  for (const size_t entry : {size_t{0}, size_t{1}}) {  // the pickle and the storage
    const size_t name = entry == 0 ? 13 : 11, length = entry == 0 ? program.size() : 24;
    for (size_t bit = 0; bit < 8 * length; ++bit) {
      const size_t place = whole.local[entry] + 30 + name + bit / 8;
      const Bytes flipped = whole.with(place, 1, whole.bytes[place] ^ (1u << bit % 8));
      REQUIRE(reason_of(flipped).find(" is damaged: its checksum is wrong") != std::string::npos);
    }
  }
}

TEST_CASE("streams hold what PyTorch wrote before, to the last byte") {
  const std::string value = pth::dict({{pth::text("w"), pth::six(0, {6}, {1})}});
  const Bytes good = pth::legacy_file(value, pth::kSix, {4});
  CHECK(reason_of(good) == "accepted");
  Bytes longer = good;
  longer.push_back(0);
  CHECK(begins_with(reason_of(longer), "has bytes behind its last storage"));
  for (size_t length = 0; length < good.size(); ++length)
    REQUIRE(reason_of({good.data(), length}) != "accepted");
  CHECK(begins_with(reason_of(pth::legacy_file(value, pth::kSix, {4}, pth::system_info("\x89"))),
                    "has numbers in another byte order"));
  CHECK(begins_with(reason_of(pth::legacy_file(value, pth::kSix, {4}, pth::pickle("}"))),
                    "does not say in which byte order"));
  CHECK(begins_with(reason_of(pth::legacy_file(value, {}, {})), "has no storage 0"));
  CHECK(begins_with(reason_of(pth::legacy_file(value, {pth::kSix[0], {"1", "abcd"}}, {4, 4})),
                    "nothing refers to storage \"1\""));
  CHECK(begins_with(reason_of(pth::legacy_file(value, {pth::kSix[0], pth::kSix[0]}, {4, 4})),
                    "has storage 0 twice"));
  CHECK(begins_with(reason_of(pth::legacy_file(value, pth::kSix, {8})),
                    "storage 0 has 3 elements, expected 6"));
}

TEST_CASE("files are known by their content, not by their name") {
  const TemporaryFolder folder(in_memory());
  const Tensor w = from_vector({0, 1, 2, 3, 4, 5}, {6});
  const std::string value = pth::dict({{pth::text("w"), pth::six(0, {6}, {1})}});
  const Bytes files[] = {serialize_safetensors({{{"w", w}}, {}}), serialize_npz({{"w", w}}),
                         pth::zip_file(value, pth::kSix), pth::legacy_file(value, pth::kSix, {4})};
  for (const Bytes& bytes : files) {
    const std::string path = folder.path() / "weights.png";
    (void)write_file_atomically(path, bytes).value();
    CHECK(same_bits(load_tensor_file(path).tensors.at("w"), w));
  }
  const std::string hdf5 = "\x89HDF\r\n\x1a\n";
  const auto refused = parse_tensor_file(Bytes(hdf5.begin(), hdf5.end()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason.starts_with("is HDF5; in Python, numpy.savez("));
  CHECK(has_tensor_file_name("a.pth"));
  CHECK_FALSE(has_tensor_file_name("a.png"));
}

TEST_CASE("weights of other programs are refused with the line that turns them into what is read") {
  const auto reason = [](const std::string& text) {
    const auto refused = parse_tensor_file(Bytes(text.begin(), text.end()));
    return refused ? std::string("accepted") : refused.error().reason;
  };
  // ir_version 8, producer_name "pytorch", producer_version "2.1.0", then a graph.
  const std::string maker = std::string("\x08\x08\x12\x07") + "pytorch\x1a\x05" + "2.1.0";
  CHECK(begins_with(reason(maker + ":\x03\x0a\x01g"), "is ONNX; in Python, numpy.savez("));
  CHECK(begins_with(reason("\x08\x04:\x06\x0a\x04\x22\x02Op"), "is ONNX; in Python, numpy.savez("));
  // Version 0 of the superblock, and version 3; nothing else of the file is looked at.
  for (const char version : {'\0', '\3'})
    CHECK(begins_with(reason(std::string("\x89HDF\r\n\x1a\n") + version + "\x08\x08"),
                      "is HDF5; in Python, numpy.savez("));
  const auto keras = zip_archive({{"metadata.json", "{}"}, {"config.json", "{}"}, {"model.weights.h5", ""}});
  CHECK(begins_with(reason({keras.bytes.begin(), keras.bytes.end()}), "is an archive of Keras"));
  const std::string script = reason_of(
      pth::archive(pth::pickle(pth::dict({})), {}, {{"root/code/__torch__.py", "class Net: pass"}}).bytes);
  CHECK(begins_with(script, "is TorchScript, which is a program; in Python, torch.save("));
  // A header of 0x120808 bytes begins like ONNX.
  const std::string header = std::string("\x08\x08\x12\0\0\0\0\0", 8) + "{" + std::string(0x120807, ' ');
  CHECK_FALSE(reason(header).starts_with("is ONNX"));
}
