// What a perceptual loss is made of: the loss, the trunk of VGG16, weights from a file, the term in a recipe.
// There are no weights of VGG16 here; what stands in for them is made up, so this shows the structure.
#include "luxgrad/training/perceptual.h"

#include <doctest/doctest.h>

#include <array>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/losses/perceptual.h"
#include "luxgrad/models/official_weights.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/models/restorer.h"
#include "luxgrad/models/vgg16.h"
#include "luxgrad/tensor/raw.h"
#include "pth_file.h"
#include "same_bits.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

Tensor noise(const Shape& shape, uint64_t seed) {
  Tensor picture = empty(shape);
  Generator generator(seed, "perceptual_test");
  fill_uniform_(picture, 0, 1, generator);
  return picture;
}

/// Every convolution copies its first maps, so that only rectifiers and maxima are left.
void make_copying(Vgg16& trunk) {
  for (const Conv2d& conv : trunk.features) {
    fill_(conv.weight, 0);
    const int64_t in = conv.weight.size(3), out = conv.weight.size(0);
    for (int64_t c = 0; c < std::min(in, out); ++c)
      conv.weight.data<float>()[((c * 3 + 1) * 3 + 1) * in + c] = 1;
  }
}

/// A VGG16 as torchvision stores it, as far as relu3_3, and a layer behind that is not asked for.
State torchvision() {
  Vgg16 trunk;
  init_fan_in_uniform_(trunk, Generator(3));
  State state;
  for (const auto& [name, tensor] : trunk.state_dict())
    state[name] = tensor.shape().rank() == 4 ? pth::torch_layout(tensor, false) : tensor;
  state["classifier.6.bias"] = zeros({7});
  return state;
}

void write(const std::string& path, const std::vector<uint8_t>& bytes) {
  (void)write_file_atomically(path, bytes).value();
}

std::string sentence(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the loss is the mean square of what the features say, and equal pictures have none") {
  const Tensor x = from_vector({1, 2, 3, 4}, {1, 2, 2, 1}), y = from_vector({1, 0, 3, 1}, {1, 2, 2, 1});
  const auto threefold = [](const Tensor& picture) { return 3.0 * picture; };
  CHECK(perceptual_loss(x, y, threefold).item() == doctest::Approx(9.0 * (4 + 9) / 4).epsilon(1e-6));
  CHECK(perceptual_loss(x, x, threefold).item() == 0);
  CHECK(sentence([&] {
          perceptual_loss(x, zeros({1, 2, 1, 1}), threefold);
        }) == "perceptual_loss: expected two equal shapes, got [1, 2, 2, 1] and [1, 2, 1, 1]");
}

TEST_CASE("the trunk has the parameters of VGG16 up to its tap") {
  Vgg16 third, fourth(Vgg16::Tap::relu4_3);
  CHECK(third.parameter_count() == 1735488);
  CHECK(fourth.parameter_count() == 7635264);
  CHECK(fourth.named_parameters().back().name == "features.21.bias");
  CHECK(third.named_parameters()[12].name == "features.14.weight");
  CHECK(third(zeros({2, 9, 12, 3})).shape() == Shape{2, 2, 3, 256});
  CHECK(fourth(zeros({1, 8, 17, 3})).shape() == Shape{1, 1, 2, 512});
  CHECK(sentence([&] {
          third(zeros({1, 3, 9, 3}));
        }) ==
        "vgg16: expected a picture [N, H, W, 3] with sides of at least 4 for relu3_3, got [1, 3, 9, 3]");
  CHECK(sentence([&] {
          fourth(zeros({1, 9, 7, 3}));
        }) ==
        "vgg16: expected a picture [N, H, W, 3] with sides of at least 8 for relu4_3, got [1, 9, 7, 3]");
  CHECK(sentence([] { vgg16_tap("relu5_3"); }) == "vgg16: expected relu3_3 or relu4_3, got 'relu5_3'");
}

TEST_CASE("a trunk that copies gives the rectified maxima of the normalised picture") {
  const PrecisionScope scope(Precision::exact);  // a copy is one where factors are whole
  constexpr std::array<float, 3> kMean = {0.485f, 0.456f, 0.406f}, kDeviation = {0.229f, 0.224f, 0.225f};
  for (const auto& [tap, side] : {std::pair{Vgg16::Tap::relu3_3, 4}, {Vgg16::Tap::relu4_3, 8}}) {
    Vgg16 trunk(tap);
    make_copying(trunk);
    const Tensor x = noise({1, 16, 16, 3}, 1);
    const Tensor f = trunk(x);
    for (int64_t p = 0; p < 16 / side; ++p) {
      for (int64_t q = 0; q < 16 / side; ++q) {
        for (size_t c = 0; c < 3; ++c) {
          float expected = 0;
          for (int64_t i = 0; i < side * side; ++i) {
            const int64_t h = p * side + i / side, w = q * side + i % side;
            const float value = x.data<float>()[(h * 16 + w) * 3 + static_cast<int64_t>(c)];
            expected = std::max(expected, (value - kMean[c]) / kDeviation[c]);
          }
          const int64_t at = (p * (16 / side) + q) * f.size(3) + static_cast<int64_t>(c);
          CHECK(f.data<float>()[at] == doctest::Approx(expected).epsilon(1e-6));
        }
      }
    }
  }
}

TEST_CASE("the gradient reaches the picture and nothing of the trunk") {
  Vgg16 trunk;
  init_fan_in_uniform_(trunk, Generator(1));
  const Tensor x = noise({1, 8, 8, 3}, 2).requires_grad_(), y = noise({1, 8, 8, 3}, 3);
  backward(perceptual_loss(x, y, trunk));
  CHECK(l2_norm(x.grad()) > 0);
  for (const auto& [name, tensor] : trunk.named_parameters()) CHECK_FALSE(tensor.grad().defined());
}

TEST_CASE("weights come from .pth, safetensors and .npz in PyTorch's layout, what lies behind is left out") {
  const TemporaryFolder folder;
  const State official = torchvision();
  Vgg16 wanted;
  init_fan_in_uniform_(wanted, Generator(3));
  const Recipe unet = make_recipe("unet", "published");
  const Tensor low = noise({1, 16, 16, 3}, 4), high = noise({1, 16, 16, 3}, 5);
  const auto model = make_model("unet");
  model->init_(Generator(1));
  std::vector<double> totals;
  const std::pair<std::string, std::vector<uint8_t>> files[] = {
      {"vgg16.pth", pth::state_file(official)},
      {"vgg16.safetensors", serialize_safetensors({official, {}})},
      {"vgg16.npz", serialize_npz(official)}};
  for (const auto& [name, bytes] : files) {
    const std::string path = folder.path() / name;
    CAPTURE(path);
    write(path, bytes);
    const Recipe more = with_perceptual(unet, {path, 0.25});
    const auto facts = facts_of(more);
    CHECK(facts.at("weight.perceptual") == "0.25");
    CHECK(facts.at("loss.perceptual") == "vgg16 relu3_3");
    CHECK(facts.at("loss.perceptual_sha256") == sha256(bytes));
    CHECK(more.objective->smallest_size() == 4);
    const Loss loss = more.objective->loss(*model, {low, high});
    REQUIRE(loss.terms.size() == 2);
    const Tensor drawn = dynamic_cast<const Restorer&>(*model).forward(low);
    CHECK(loss.terms[1].second.item() == perceptual_loss(drawn, high, wanted).item());
    totals.push_back(loss.total.item());
    CHECK(totals.back() == doctest::Approx(loss.terms[0].second.item() + 0.25 * loss.terms[1].second.item()));
  }
  CHECK(totals[0] == totals[1]);
  CHECK(totals[0] == totals[2]);
  CHECK_FALSE(facts_of(unet).contains("weight.perceptual"));
}

TEST_CASE("weights that do not fit are named, and so are recipes that take no such term") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "vgg16.safetensors";
  State wrong = torchvision();
  wrong["features.5.weight"] = zeros({128, 32, 3, 3});
  wrong.erase("features.7.bias");
  write(path, serialize_safetensors({wrong, {}}));
  const Recipe unet = make_recipe("unet", "published");
  CHECK(sentence([&] {
          with_perceptual(unet, {path, 1});
        }) ==
        "load_state_dict: the weights do not fit the network:\n"
        "  features.5.weight: expected [128, 3, 3, 64], got [128, 3, 3, 32]\n"
        "  features.7.bias: missing, expected [128]");
  CHECK(sentence([&] {
          with_perceptual(unet, {path, 0});
        }) == "perceptual: expected a positive weight, got 0");
  CHECK(sentence([&] {
          with_perceptual(make_recipe("gan", "published"), {path, 1});
        }) ==
        "perceptual: recipe published does not compare pictures with references alone, so it takes no such "
        "term");
  CHECK_THROWS_AS(with_perceptual(unet, {path + ".absent", 1}), FileException);
}
