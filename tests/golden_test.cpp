// tests/golden.h: the formula gives the published values, the comparison can fail, and every golden file
// parses.
#include "golden.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "luxgrad/data/file.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"

using namespace lux;

TEST_CASE("the formula gives the values of formula_check.json") {
  const auto checks = golden_json("names/formula_check.json");
  if (!checks) return;
  for (const auto& row : *checks) {
    const auto name = row.at("name").get<std::string>(), salt = row.at("salt").get<std::string>();
    const auto sizes = row.at("shape").get<std::vector<int64_t>>();
    CAPTURE(salt + name);
    CHECK(fnv1a(salt + name) == std::stoull(row.at("fnv1a64").get<std::string>(), nullptr, 16));
    const Tensor tensor =
        formula_parameter(name, Shape(sizes.data(), sizes.data() + sizes.size()), salt, row.at("gain"));
    for (const auto& [index, value] : row.at("values").items()) {
      CHECK(tensor.data<float>()[std::stoll(index)] == value.get<float>());
    }
    CHECK(difference("l2", l2_norm(tensor), row.at("l2").get<double>(), 1e-12) == "");
  }
}

TEST_CASE("the kind of every listed parameter follows from its name and shape") {
  const std::string folder = golden_folder();
  if (folder.empty()) {
    MESSAGE("skipped: no golden folder");
    return;
  }
  int listed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/names")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string name, kind, sizes;
      words >> name >> kind >> sizes;
      if (kind != "conv" && kind != "conv_transpose" && kind != "linear" && kind != "bias" && kind != "prelu")
        continue;
      CAPTURE(line);
      ++listed;
      const bool is_weight = name.ends_with(".weight"), is_matrix = sizes.find(',') != std::string::npos;
      CHECK(is_weight == (kind != "bias"));
      CHECK(is_matrix == (kind != "bias" && kind != "prelu"));
      if (kind == "prelu") CHECK(sizes == "1");
    }
  }
  CHECK(listed >= 56);
}

TEST_CASE("every golden file is a strict safetensors file and is written back unchanged in content") {
  const std::string folder = golden_folder();
  if (folder.empty()) {
    MESSAGE("skipped: no golden folder");
    return;
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    CAPTURE(entry.path().string());
    const auto golden = load_golden(entry.path().stem());
    REQUIRE(golden);
    CHECK_FALSE(golden->file.tensors.empty());
    const auto bytes = serialize_safetensors(golden->file);
    const TensorFile back = parse_safetensors(bytes).value();
    CHECK(back.metadata == golden->file.metadata);
    CHECK(back.tensors.size() == golden->file.tensors.size());
    CHECK(serialize_safetensors(back) == bytes);
  }
}

TEST_CASE("the copies in the clone are the files of the whole set") {
  namespace fs = std::filesystem;
  const fs::path copies = LUX_SOURCE_DIR "/tests/golden", originals = LUX_SOURCE_DIR "/../shared/golden";
  if (!fs::is_directory(originals)) {
    MESSAGE("skipped: ", originals.string(), " is not there");
    return;
  }
  std::set<std::string> models;
  for (const auto& entry : fs::recursive_directory_iterator(copies)) {
    const fs::path name = fs::relative(entry.path(), copies);
    if (entry.is_directory() || name == "README.md") continue;
    CAPTURE(name.string());
    CHECK(read_file(entry.path()).value() == read_file(originals / name).value());
    if (name.extension() == ".safetensors") models.insert(load_golden(name.stem())->metadata("model"));
  }
  for (const ModelInfo& model : lux::models()) CHECK(models.contains(model.name));
}

TEST_CASE("the names of a file follow its table") {
  Golden golden{"g", {}, nlohmann::json::parse(R"({"names_in_file": {"e_conv1": "conv1"}})"), "s:", 0.5};
  CHECK(golden.name_in_file("e_conv1.weight") == "conv1.weight");
  CHECK(golden.name_in_file("e_conv12.weight") == "e_conv12.weight");
  const Tensor expected = formula_parameter("conv1.weight", {4, 3, 3, 3}, "s:", 0.5);
  CHECK(golden.parameter("e_conv1.weight", {4, 3, 3, 3}).to_vector() == expected.to_vector());
  CHECK_THROWS_WITH(golden.at("output.x"), "g: there is no tensor output.x");
  CHECK_THROWS_WITH(golden.metadata("model"), "g: the metadata have no model");
  golden.file.tensors = {{"grad_norm.a", zeros({1})}, {"grad_norm.b", zeros({1})}, {"z", zeros({1})}};
  CHECK(golden.after("grad_norm.") == std::vector<std::string>{"a", "b"});
}

TEST_CASE("the comparison names tensor, index and both values") {
  const TensorOptions f64{DType::f64, kCpu};
  const Tensor reference = from_vector({0, 1, -4, 2}, {2, 2}, f64);
  CHECK(difference("y", reference, reference, 0) == "");
  CHECK(difference("y", from_vector({0, 1, -4, 2.003}, {2, 2}, f64), reference, 1e-3) == "");
  CHECK(difference("y", from_vector({0, 1, -4, 2.0625}, {2, 2}, f64), reference, 1e-3) ==
        "y at [1, 1]: expected 2, got 2.0625: off by 6.25e-02, allowed 4.00e-03 of max 4");
  CHECK(difference("y", from_vector({0, 1, -4, 2.0625}, {2, 2}, f64), reference, 1e-3, 0.06) == "");
  CHECK(difference("y", from_vector({0, 1, -4, 2}, {4}, f64), reference, 1) ==
        "y: expected shape [2, 2], got [4]");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(difference("y", from_vector({0, nan, -4, 2}, {2, 2}, f64), reference, 1)
            .starts_with("y at [0, 1]: expected 1"));
  CHECK(difference("loss", 1.0, 1.0, 0) == "");
  CHECK(difference("loss", 1.0, 2.0, 0.1).starts_with("loss at []: expected 2, got 1"));
}

TEST_CASE("samples are the eight evenly spaced elements") {
  const Tensor tensor = from_vector({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {10});
  CHECK(golden_sample(tensor).to_vector() == std::vector<double>{0, 1, 2, 3, 5, 6, 7, 9});
  CHECK(golden_sample(from_vector({5}, {1})).to_vector() == std::vector<double>(8, 5));
}
