// models/official_weights.h: the authors' checkpoints, under their names and in PyTorch's layout, become the
// states of our networks, bit by bit.
#include "luxgrad/models/official_weights.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "golden.h"
#include "luxgrad/data/tensor_file.h"
#include "luxgrad/models/registry.h"
#include "pth_file.h"
#include "same_bits.h"

using namespace lux;

namespace {

/// Different numbers for every name.
Tensor values(const std::string& name, const Shape& shape) {
  return formula_parameter(name, shape, "official", 1);
}

/// What `names/<model>.txt` lists, as a checkpoint of the authors: every name and every alias.
struct Official {
  State checkpoint, ours;
};
std::optional<Official> official(const std::string& list) {
  const std::filesystem::path path = std::filesystem::path(golden_folder()) / "names" / (list + ".txt");
  std::ifstream lines(path);
  if (golden_folder().empty() || !lines) {
    MESSAGE("skipped: there is no ", path.string());
    return std::nullopt;
  }
  Official all;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name, kind, sizes, aliases;
    words >> name >> kind >> sizes >> aliases;
    if (name == "total") continue;
    std::vector<int64_t> shape;
    std::istringstream numbers(sizes);
    for (std::string number; std::getline(numbers, number, ',');) shape.push_back(std::stoll(number));
    const Tensor tensor = values(name, Shape(shape.data(), shape.data() + shape.size()));
    all.ours[name] = tensor;
    const Tensor theirs = pth::torch_layout(tensor, kind == "conv_transpose");
    all.checkpoint[name] = theirs;
    std::istringstream others(aliases.empty() ? "" : aliases.substr(std::string("aliases=").size()));
    for (std::string alias; std::getline(others, alias, ',');) all.checkpoint[alias] = theirs;
  }
  return all;
}

bool equal(const State& a, const State& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && same_bits(x.second, y.second);
  });
}

State wrapped(const State& state, const std::string& prefix) {
  State all;
  for (const auto& [name, tensor] : state) all[prefix + name] = tensor;
  return all;
}

}  // namespace

TEST_CASE("the official checkpoints become the networks, however they are wrapped") {
  for (const std::string model_name : {"zero_dce", "zero_dce_plus", "mirnet_v1", "mirnet_v2"}) {
    auto all = official(model_name == "zero_dce" ? "zero_dce_official" : model_name);
    if (!all) continue;
    CAPTURE(model_name);
    if (model_name == "mirnet_v1") {
      CHECK(all->checkpoint.size() > all->ours.size() + 100);  // tied values
      all->checkpoint["body.0.body.0.down.64_2.body.0.top.4.filt"] = zeros({64, 1, 3, 3});
      all->checkpoint["body.0.body.0.down.64_2.body.0.bot.0.filt"] = zeros({64, 1, 3, 3});
    }
    const std::unique_ptr<Model> model = make_model(model_name);
    for (const char* wrapper : {"", "module.", "state_dict/", "state_dict/module.", "params/", "model/"}) {
      State file = wrapped(all->checkpoint, wrapper);
      if (std::string(wrapper).find('/') != std::string::npos) file["optimizer/state/0/exp_avg"] = zeros({3});
      CHECK(model_of_weights(file) == model_name);
      CHECK(equal(adapted_weights(*model, file), all->ours));
    }
    CHECK(equal(adapted_weights(*model, all->ours), all->ours));
    CHECK_NOTHROW(model->load_state_dict(adapted_weights(*model, all->checkpoint)));
    CHECK(equal(model->state_dict(), all->ours));
  }
}

TEST_CASE("the released checkpoints are their converted twins, bit by bit") {
  const std::filesystem::path folder = std::filesystem::path(LUX_SOURCE_DIR) / "../shared/data/weights";
  for (const auto& [name, file, twin] :
       {std::tuple{"zero_dce", "zero_dce_Epoch99.pth", "zero_dce_official.safetensors"},
        {"zero_dce_plus", "zero_dcepp_Epoch99.pth", "zero_dce_plus_official.safetensors"}}) {
    if (!std::filesystem::exists(folder / file)) {
      MESSAGE("skipped: there is no ", (folder / file).string());
      continue;
    }
    const State official = load_tensor_file(folder / file).tensors;
    const std::unique_ptr<Model> model = make_model(name);
    CHECK(model_of_weights(official) == name);
    CHECK(equal(adapted_weights(*model, official), load_tensor_file(folder / twin).tensors));
  }
}

TEST_CASE("every network is known by its own weights") {
  for (const ModelInfo& info : models())
    CHECK(model_of_weights(make_model(info.name)->state_dict()) == info.name);
  CHECK(model_of_weights({}).empty());
  CHECK(model_of_weights({{"conv1.weight", zeros({1})}}).empty());
}

TEST_CASE("what does not fit is left as it is, and named") {
  const std::unique_ptr<Model> model = make_model("zero_dce");
  State file;
  for (const auto& [name, tensor] : model->state_dict())
    file[name] = pth::torch_layout(values(name, tensor.shape()), false);
  file.erase("e_conv1.bias");
  file["e_conv3.weight"] = zeros({32, 31, 3, 3});
  file["e_conv9.bias"] = zeros({2});
  file["e_conv1.num_batches_tracked"] = zeros({}, {DType::i64, kCpu});
  CHECK_THROWS_WITH_AS(model->load_state_dict(adapted_weights(*model, file)),
                       "load_state_dict: the weights do not fit the network:"
                       "\n  e_conv1.bias: missing, expected [32]"
                       "\n  e_conv3.weight: expected [32, 3, 3, 32], got [32, 3, 3, 31]"
                       "\n  e_conv9.bias: unexpected, got [2]",
                       StateMismatch);
}

TEST_CASE("values that a network ties have to be the same in the file") {
  const std::unique_ptr<Model> model = make_model("mirnet_v1");
  const std::string own = "body.1.body.0.blocks.2.0.conv1x1.weight",
                    copy = "body.1.body.0.blocks.2.1.conv1x1.weight";
  State file = {{own, values("a", {2, 1, 1, 3})}, {copy, values("a", {2, 1, 1, 3})}};
  CHECK(adapted_weights(*model, file).size() == 1);
  file[copy] = values("b", {2, 1, 1, 3});
  CHECK_THROWS_WITH_AS(
      adapted_weights(*model, file),
      doctest::Contains(
          "blocks.2.1.conv1x1.weight: expected the values of body.1.body.0.blocks.2.0.conv1x1."),
      StateMismatch);
}
