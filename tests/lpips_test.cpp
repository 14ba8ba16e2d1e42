// LPIPS against the authors' own program (version 0.1.4 of their package) in float64, with weights that both
// sides make by one formula: the project has none that were learnt.
#include "luxgrad/models/lpips.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "luxgrad/data/tensor_file.h"
#include "luxgrad/kernels/arithmetic.h"
#include "pth_file.h"

using namespace lux;

namespace {

/// Numbers in [0, 1), multiples of 2^-24, from their places and a seed: SplitMix64 without its last round.
Tensor uniform(const Shape& shape, uint64_t seed) {
  Tensor values = empty(shape);
  float* const out = values.data<float>();
  for (int64_t i = 0; i < shape.numel(); ++i) {
    uint64_t h = (static_cast<uint64_t>(i) + 1) * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03;
    h = (h ^ (h >> 32)) * 0xBF58476D1CE4E5B9;
    out[i] = static_cast<float>((h ^ (h >> 29)) >> 40) / (1 << 24);
  }
  return values;
}

/// Weights of a trunk that keep the scale of what passes through, in our layout.
State trunk_state(std::span<const TrunkConv> convs) {
  State state;
  uint64_t seed = 0;
  for (const TrunkConv& conv : convs) {
    const std::string name = cat("features.", conv.place);
    const double scale = std::sqrt(24.0 / static_cast<double>(conv.kernel_size * conv.kernel_size * conv.in));
    const Shape shape = {conv.out, conv.kernel_size, conv.kernel_size, conv.in};
    state[name + ".weight"] = (uniform(shape, seed) - 0.5) * scale;
    state[name + ".bias"] = (uniform({conv.out}, seed + 100) - 0.5) * 0.2;
    ++seed;
  }
  return state;
}

State linear_state(std::span<const TrunkConv> convs) {
  State state;
  for (const TrunkConv& conv : convs) {
    if (!conv.tap) continue;
    const size_t k = state.size();
    state[cat("lin", k, ".model.1.weight")] = uniform({1, conv.out, 1, 1}, 200 + k);  // PyTorch's layout
  }
  return state;
}

Lpips made_up(std::span<const TrunkConv> convs) { return Lpips(trunk_state(convs), linear_state(convs)); }

std::string sentence(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the distance is the authors' program's") {
  const Tensor x = uniform({1, 37, 52, 3}, 300), y = x * 0.5 + uniform({1, 37, 52, 3}, 301) * 0.25;
  const Lpips alexnet = made_up(alexnet_convs()), vgg16 = made_up(vgg16_convs());
  CHECK(alexnet(x, y) == doctest::Approx(0.4837838355856637).epsilon(2e-6));
  CHECK(vgg16(x, y) == doctest::Approx(0.4604897072258915).epsilon(2e-6));
  CHECK(alexnet(y, x) == doctest::Approx(alexnet(x, y)).epsilon(1e-12));
  CHECK(alexnet(x, x) == 0);
  CHECK(std::string(alexnet.network()) == "AlexNet");
  CHECK(std::string(vgg16.network()) == "VGG16");
}

TEST_CASE("the authors' weights are read as they publish them") {
  const std::filesystem::path folder = std::filesystem::path(LUX_SOURCE_DIR) / "../shared/data/weights";
  const Tensor x = uniform({1, 37, 52, 3}, 300), y = x * 0.5 + uniform({1, 37, 52, 3}, 301) * 0.25;
  struct Row {
    std::span<const TrunkConv> convs;
    const char* file;
    double distance;
  };
  for (const Row& row : {Row{alexnet_convs(), "lpips_v0.1_alex_lin.pth", 0.0626766651488904},
                         Row{vgg16_convs(), "lpips_v0.1_vgg_lin.pth", 0.08604236686898295}}) {
    const std::string path = folder / row.file;
    if (!std::filesystem::exists(path)) {
      MESSAGE("skipped: there is no ", path);
      continue;
    }
    const Lpips lpips(trunk_state(row.convs), load_tensor_file(path).tensors);
    CHECK(lpips(x, y) == doctest::Approx(row.distance).epsilon(2e-6));
  }
}

TEST_CASE("a trunk in PyTorch's layout, with layers that are not asked for, is the same") {
  const auto convs = alexnet_convs();
  State whole;
  for (const auto& [name, tensor] : trunk_state(convs)) whole[name] = pth::torch_layout(tensor, false);
  whole["classifier.6.bias"] = zeros({1000});
  const Tensor x = uniform({1, 31, 31, 3}, 1), y = uniform({1, 31, 31, 3}, 2);
  CHECK(Lpips(whole, linear_state(convs))(x, y) == made_up(convs)(x, y));
}

TEST_CASE("what LPIPS refuses") {
  const State trunk = trunk_state(alexnet_convs()), other = linear_state(vgg16_convs());
  CHECK_THROWS_AS(Lpips(trunk, other), StateMismatch);
  CHECK_THROWS_AS(Lpips({}, other), StateMismatch);
  CHECK(sentence([&] { Lpips(trunk, {}); }).find("lin0.model.1.weight: missing") != std::string::npos);
  const Lpips lpips = made_up(alexnet_convs());
  CHECK(sentence([&] {
          lpips(zeros({1, 40, 30, 3}), zeros({1, 40, 30, 3}));
        }) ==
        "lpips: expected a picture [1, H, W, 3] with sides of at least 31 for AlexNet, got [1, 40, 30, 3]");
  CHECK(sentence([&] {
          lpips(zeros({1, 40, 31, 3}), zeros({1, 40, 32, 3}));
        }) == "lpips: expected two equal shapes, got [1, 40, 31, 3] and [1, 40, 32, 3]");
}
