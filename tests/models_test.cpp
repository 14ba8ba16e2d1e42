// models/: the registry, every size of picture, memory, and training that gives the same bits on any number
// of threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/layers/conv2d.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/losses/zero_dce.h"
#include "luxgrad/models/default_weights.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/models/zero_dce.h"
#include "luxgrad/models/zero_dce_plus.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/training/optimizer.h"
#include "narrow_models.h"
#include "same_bits.h"

using namespace lux;

namespace {

Tensor dark_picture(const Shape& shape, DType dtype = DType::f32) {
  Tensor picture = empty(shape, {dtype, kCpu});
  Generator generator(3, "dark picture");
  fill_uniform_(picture, 0, 0.3, generator);
  return picture;
}

std::unique_ptr<CurveModel> make_curve_model(const char* name, const ModelConfig& config = {}) {
  std::unique_ptr<Model> model = make_model(name, config);
  return std::unique_ptr<CurveModel>(dynamic_cast<CurveModel*>(model.release()));
}

// Trains on one batch; returns the losses before each step.
std::vector<double> train(CurveModel& model, const Tensor& low, int steps, double lr) {
  Adam adam(model.named_parameters(), {.lr = lr});
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    model.zero_grad();
    const CurveEnhancement y = model.forward(low);
    const auto options = zero_dce_loss_options(ZeroDceMode::official, y.curves.size(3) == 3);
    const ZeroDceLoss loss = zero_dce_loss(low, y.enhanced, y.curves, options);
    losses.push_back(loss.total.item());
    backward(loss.total);
    adam.step();
  }
  return losses;
}

}  // namespace

TEST_CASE("the registry names the models, their size and their options") {
  const std::vector<ModelInfo> list = models();
  const std::vector<std::pair<std::string, int64_t>> published = {
      {"reference_guided", 5006915}, {"mirnet_keras", 44157007},
      {"mirnet_v1", 31787419},       {"mirnet_v2", 5858560},
      {"gan", 16579401 + 6965441},   {"zero_dce", 79416},
      {"zero_dce_plus", 10561},      {"unet", 908003}};
  REQUIRE(list.size() == published.size());
  for (size_t i = 0; i < list.size(); ++i) {
    CHECK(list[i].name == published[i].first);
    CHECK(list[i].parameters == published[i].second);
  }
  CHECK(make_model("reference_guided", {{"deconv_bias", "true"}})->parameter_count() == 5007139);
  CHECK(make_model("reference_guided", {{"conv5_act", "false"}})->parameter_count() == 5006915);
  CHECK(make_model("reference_guided", {{"lum_dim", "64"}})->parameter_count() == 5006915);
  CHECK(make_model("reference_guided", {{"norm", "instance"}})->parameter_count() == 5006915);
  constexpr int64_t kReadFromSkips = 9 * (256 * 256 + 128 * 128 + 64 * 64 + 32 * 32);
  CHECK(make_model("reference_guided", {{"skip", "false"}})->parameter_count() == 5006915 - kReadFromSkips);
  CHECK(make_model("mirnet_keras", {{"compat", "2021"}})->parameter_count() == 36351613);
  CHECK_THROWS_WITH_AS(make_model("zero"),
                       "make_model: expected one of reference_guided, mirnet_keras, mirnet_v1, mirnet_v2, "
                       "gan, zero_dce, zero_dce_plus, unet, got 'zero'",
                       Error);
  CHECK_THROWS_WITH_AS(make_model("zero_dce", {{"scale", "2"}}),
                       "zero_dce: expected options among concat, got 'scale'", Error);
  CHECK_THROWS_WITH_AS(make_model("reference_guided", {{"lum_dim", "512"}}),
                       "reference_guided: expected lum_dim from 1 to 511, got 512", Error);
  CHECK_THROWS_WITH_AS(make_model("reference_guided", {{"norm", "layer"}}),
                       "norm: expected batch or instance, got 'layer'", Error);
  CHECK_THROWS_WITH_AS(make_model("reference_guided", {{"skip", "0"}}),
                       "skip: expected true or false, got '0'", Error);
  CHECK_THROWS_WITH_AS(make_model("zero_dce", {{"concat", "torch"}}),
                       "concat: expected official or keras, got 'torch'", Error);
  CHECK_THROWS_WITH_AS(make_model("zero_dce_plus", {{"scale_factor", "2x"}}),
                       "scale_factor: expected a whole number, got '2x'", Error);
  CHECK_THROWS_WITH_AS(make_model("zero_dce_plus", {{"scale_factor", "65"}}),
                       "zero_dce_plus: expected scale_factor from 1 to 64, got 65", Error);
}

TEST_CASE("the options that are listed are those that a network has, the default first") {
  for (const ModelInfo& info : models()) {
    CAPTURE(info.name);
    CHECK(model_options(info.name).size() == info.options.size());
    for (const OptionInfo& option : model_options(info.name)) {
      REQUIRE(info.options.contains(option.name));
      CHECK(std::string(option.values).starts_with(info.options.at(option.name) + ", "));
    }
  }
  CHECK(model_options("no such model").empty());
}

TEST_CASE("a weight file's metadata brings the same network back") {
  const auto model = make_model("zero_dce_plus", {{"scale_factor", "4"}});
  const Metadata metadata = to_metadata(*model);
  CHECK(make_model_from(metadata)->config() == model->config());
  CHECK(make_model_from(metadata, "zero_dce_plus", {{"scale_factor", "2"}})->traits().size_multiple == 2);
  CHECK(make_model_from({}, "zero_dce")->name() == "zero_dce");
  CHECK_THROWS_WITH_AS(make_model_from(metadata, "zero_dce"),
                       "make_model: expected weights for zero_dce, got weights for 'zero_dce_plus'", Error);
  CHECK_THROWS_WITH_AS(make_model_from({}), "make_model: the weights do not say which model they are for",
                       Error);
}

TEST_CASE("embedded default weights fit their networks") {
  CHECK(default_weights("no such model").empty());
  for (const ModelInfo& info : models()) {
    const auto bytes = default_weights(info.name);
    if (bytes.empty()) {
      MESSAGE("no default weights for " << info.name << " in this build");
      continue;
    }
    const TensorFile file = parse_safetensors(bytes).value();
    CHECK_NOTHROW(make_model_from(file.metadata, info.name)->load_state_dict(file.tensors));
  }
}

TEST_CASE("reflect_pad walks to and fro without repeating the edge") {
  const Tensor x = from_vector({1, 2, 3, 4, 5, 6}, {1, 2, 3, 1});
  CHECK(reflect_pad(x, {0, 1, 0, 5}).to_vector() == std::vector<double>{1, 2, 3, 2, 1, 2, 3, 2,  //
                                                                        4, 5, 6, 5, 4, 5, 6, 5,  //
                                                                        1, 2, 3, 2, 1, 2, 3, 2});
  CHECK(reflect_pad(x, {0, -1, 0, -1}).to_vector() == std::vector<double>{1, 2});
  const Tensor column = from_vector({1, 2, 3, 4}, {1, 2, 1, 2});
  CHECK(reflect_pad(column, {0, 0, 0, 2}).to_vector() ==
        std::vector<double>{1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4});
}

TEST_CASE("every size of picture keeps its size") {
  for (const ModelConfig& config :
       {ModelConfig{{"scale_factor", "1"}}, ModelConfig{{"scale_factor", "12"}}}) {
    const auto plus = make_curve_model("zero_dce_plus", config);
    const auto plain = make_curve_model("zero_dce");
    for (CurveModel* model : {plus.get(), plain.get()}) {
      model->init_(Generator(1));
      for (const auto& [height, width] : {std::pair{1, 1}, {33, 60}, {91, 18}, {3, 200}, {1, 7}, {24, 36}}) {
        const Tensor x = dark_picture({1, height, width, 3});
        const Tensor y = enhance(*model, x);
        CHECK(y.shape() == x.shape());
        CHECK_FALSE(y.requires_grad());
        for (const double value : y.to_vector()) REQUIRE((value >= 0 && value <= 1));
      }
    }
  }
  const auto model = make_curve_model("zero_dce_plus", {{"scale_factor", "12"}});
  CHECK_THROWS_WITH_AS(model->forward(dark_picture({1, 24, 30, 3})),
                       "zero_dce_plus: expected height and width in multiples of 12, got [1, 24, 30, 3]",
                       Error);
  CHECK_THROWS_WITH_AS(enhance(*model, dark_picture({1, 0, 30, 3})),
                       "enhance: expected a picture [N, H, W, 3], got [1, 0, 30, 3]", Error);
  CHECK_THROWS_WITH_AS(enhance(*model, dark_picture({1, 8, 8, 3}), {.strength = 1.5}),
                       "enhance: expected a strength from 0 to 1, got 1.5", Error);
}

TEST_CASE("every network takes pictures of any size, and strengths from none to all") {
  for (const ModelMaker make : kNarrowModels) {
    const std::unique_ptr<Model> model = make();
    CAPTURE(model->name());
    model->init_(Generator(1));
    for (const auto& [height, width] : {std::pair{1, 1}, {3, 5}, {1, 17}, {18, 2}, {33, 21}}) {
      CAPTURE(height);
      const Tensor x = dark_picture({1, height, width, 3}, DType::f32), y = enhance(*model, x);
      CHECK(y.shape() == x.shape());
      for (const double value : y.to_vector()) REQUIRE((value >= 0 && value <= 1));
      // Without strength reference_guided draws the picture again with its own light.
      CHECK(same_bits(enhance(*model, x, {.strength = 0}), x) == (model->name() != "reference_guided"));
      CHECK(enhance(*model, x, {.strength = 0.5}).shape() == x.shape());
    }
  }
}

TEST_CASE("strength goes from the picture to the network's own result") {
  const PrecisionScope scope(Precision::exact);  // as what is recorded
  for (const char* name : {"zero_dce", "zero_dce_plus"}) {
    const auto model = make_curve_model(name);
    init_glorot_uniform_(*model, Generator(1));
    const Tensor x = dark_picture({1, 16, 20, 3});
    CHECK(same_bits(enhance(*model, x, {.strength = 0}), x));
    CHECK(same_bits(enhance(*model, x), model->forward(x).enhanced.detach()));
    const Tensor half = full({1}, 0.5) * model->curves(x);
    CHECK(same_bits(enhance(*model, x, {.strength = 0.5}), curve_iterations(x, half).detach()));
  }
}

TEST_CASE("the stated halo is how far the network looks") {
  const PlainKernels plain;  // Winograd's tiles round what lies beyond to almost nothing
  constexpr int64_t kSide = 60;
  const Tensor picture = dark_picture({1, kSide, kSide, 3}, DType::f32);
  for (const auto& [name, halo] : {std::pair{"zero_dce", 7}, {"zero_dce_plus", 7}, {"unet", 18}}) {
    CAPTURE(name);
    const auto model = make_model(name);
    init_glorot_uniform_(*model, Generator(1));
    int64_t seen = 0;
    for (int64_t at = 28; at < 32; ++at) {  // a network that pools looks further from some than from others
      Tensor x = picture.detach().requires_grad_();
      const Tensor y = model->enhance(x, 1);
      backward(sum(narrow(narrow(y, 1, at, 1), 2, at, 1)));
      const auto gradient = x.grad().to_vector();
      for (int64_t i = 0; i < x.numel(); ++i) {
        if (gradient[static_cast<size_t>(i)] == 0) continue;
        const int64_t row = i / 3 / kSide, column = i / 3 % kSide;
        seen = std::max({seen, std::abs(row - at), std::abs(column - at)});
      }
    }
    CHECK(seen == halo);
    CHECK(sight_of(*model).halo == halo);
  }
}

TEST_CASE("inference needs hardly more memory than the layers' best peak") {
  const int64_t height = 120, width = 96, map = 32 * height * width * 4, picture = 3 * height * width * 4;
  for (const auto& [name, maps] : {std::pair{"zero_dce", 5}, {"zero_dce_plus", 6}}) {
    const auto model = make_curve_model(name);
    model->init_(Generator(1));
    const int64_t optimum = Liveness(*model).optimum(height, width);
    CHECK(optimum == model->parameter_count() * 4 + picture + maps * map);
    const Tensor x = dark_picture({1, height, width, 3});
    enhance(*model, x);
    memory::reset_peak();
    enhance(*model, x);
    const int64_t peak = memory::stats().peak;
    MESSAGE(model->name() << ": peak " << peak << " bytes, optimum " << optimum);
    CHECK(static_cast<double>(peak) <= 1.15 * static_cast<double>(optimum));
  }
  const auto scaled = make_curve_model("zero_dce_plus", {{"scale_factor", "12"}});
  CHECK(Liveness(*scaled).optimum(119, 95) == Liveness(*scaled).optimum(120, 96));
  CHECK(Liveness(*scaled).optimum(120, 96) < 8 * picture);
}

TEST_CASE("four pictures are overfitted") {
  for (const char* name : {"zero_dce", "zero_dce_plus"}) {
    const auto model = make_curve_model(name);
    init_glorot_uniform_(*model, Generator(1));
    const std::vector<double> losses = train(*model, dark_picture({4, 16, 16, 3}), 60, 3e-3);
    MESSAGE(model->name() << ": loss " << losses.front() << " -> " << losses.back());
    CHECK(losses.back() < 0.25 * losses.front());
  }
}

TEST_CASE("training gives the same bits on any number of threads and at any alignment") {
  const int threads_before = num_threads();
  for (const char* name : {"zero_dce", "zero_dce_plus"}) {
    State first;
    for (const auto& [threads, shift] : {std::pair{1, 0}, {2, 0}, {3, 0}, {5, 0}, {2, 8}, {3, 40}}) {
      CAPTURE(threads);
      CAPTURE(shift);
      set_num_threads(threads);
      memory::set_test_layout({.shift = shift});
      const auto model = make_curve_model(name);
      model->init_(Generator(1));
      train(*model, dark_picture({2, 16, 32, 3}), 20, 1e-3);
      if (first.empty()) {
        for (const auto& [path, tensor] : model->state_dict()) first[path] = tensor.clone();
      }
      for (const auto& [path, tensor] : model->state_dict())
        CHECK_MESSAGE(same_bits(tensor, first.at(path)), path);
      memory::set_test_layout({});
    }
  }
  set_num_threads(threads_before);
}

TEST_CASE("the two networks of gan have their published sizes and statistics") {
  const Gan gan;
  CHECK(gan.generator.parameter_count() == 16579401);
  CHECK(gan.discriminator.parameter_count() == 6965441);
  int64_t generator = 0, discriminator = 0;
  for (const auto& [name, tensor] : gan.state_dict()) {
    if (name.ends_with(".running_mean") || name.ends_with(".running_var"))
      (name.starts_with("generator.") ? generator : discriminator) += tensor.numel();
  }
  CHECK(generator == 7814);
  CHECK(discriminator == 2816);
}

TEST_CASE("gan is sharp by default, and as published on request") {
  Gan gan;
  gan.init_(Generator(1));
  const Tensor x = dark_picture({1, 16, 24, 3});
  const Tensor plain = enhance(gan, x);
  CHECK(same_bits(enhance(gan, x), plain));
  gan.set_inference({.statistics = BatchNormMode::running});
  CHECK_FALSE(same_bits(enhance(gan, x), plain));
  gan.set_inference({.dropout = 0.5, .seed = 1, .stretch = true});
  const Tensor published = enhance(gan, x);
  CHECK(same_bits(enhance(gan, x), published));
  const std::vector<double> values = published.to_vector();
  CHECK(*std::min_element(values.begin(), values.end()) == 0);
  CHECK(*std::max_element(values.begin(), values.end()) == doctest::Approx(1));
  gan.set_inference({.dropout = 0.5, .seed = 2, .stretch = true});
  CHECK_FALSE(same_bits(enhance(gan, x), published));
}

TEST_CASE("reference_guided follows looks, and averages the results of several") {
  ReferenceGuided model;
  model.init_(Generator(1));
  const Tensor x = dark_picture({1, 17, 22, 3}), bright = 2.0 * dark_picture({1, 30, 11, 3});
  const Tensor neutral = enhance(model, x);
  const Tensor one = model.look_of(bright), other = model.look_of(x);
  CHECK(one.shape() == Shape{1, 96});
  model.set_looks({one});
  const Tensor first = enhance(model, x);
  CHECK_FALSE(same_bits(first, neutral));
  model.set_looks({other});
  const Tensor second = enhance(model, x);
  CHECK(same_bits(second, enhance(model, x, {.strength = 0})));  // its own luminance is its look
  model.set_looks({one, other});
  CHECK(same_bits(enhance(model, x), (first + second) * 0.5));
  model.set_looks({});
  CHECK(same_bits(enhance(model, x), neutral));
  CHECK_THROWS_WITH_AS(model.set_looks({bright}),
                       "reference_guided: expected looks [1, 96], got [1, 30, 11, 3]", Error);
}

TEST_CASE("reference_guided without its last activation has features that follow the sign of its weights") {
  const Tensor x = dark_picture({1, 17, 22, 3});
  const auto mirrors = [&](bool conv5_act) {
    ReferenceGuided model({.conv5_act = conv5_act, .width = 4});
    model.init_(Generator(1));
    const Tensor features = model.encode(x).features;
    State state = model.state_dict();
    state["encoder.conv5_1.weight"] = -state.at("encoder.conv5_1.weight").clone();
    model.load_state_dict(state);
    return same_bits(model.encode(x).features, -features);
  };
  CHECK(mirrors(false));
  CHECK_FALSE(mirrors(true));
}

TEST_CASE("lum_dim says where luminance ends and content begins") {
  ReferenceGuided model({.lum_dim = 7, .width = 4});
  model.init_(Generator(1));
  const ReferenceGuided::Encoding encoding = model.encode(dark_picture({2, 17, 22, 3}));
  CHECK(same_bits(encoding.luminance(), narrow(encoding.features, 1, 0, 7)));
  CHECK(same_bits(encoding.content(), narrow(encoding.features, 1, 7, 505)));
  CHECK(same_bits(concat({encoding.luminance(), encoding.content()}, 1), encoding.features));
  CHECK_THROWS_WITH_AS(model.set_looks({zeros({1, 96})}),
                       "reference_guided: expected looks [1, 7], got [1, 96]", Error);
  model.set_looks({zeros({1, 7})});
  CHECK(enhance(model, dark_picture({1, 17, 22, 3})).shape() == Shape{1, 17, 22, 3});
}

TEST_CASE("reference_guided without skips draws from 512 numbers, in the size of the picture") {
  const auto reads_maps = [](bool skip) {
    ReferenceGuided model({.skip = skip, .width = 4});
    model.init_(Generator(1));
    const ReferenceGuided::Encoding low = model.encode(dark_picture({1, 19, 22, 3}));
    ReferenceGuided::Encoding blank = low;
    for (Tensor* const map : {&blank.c1, &blank.c2, &blank.c3, &blank.c4}) *map = zeros(map->shape());
    const Tensor picture = model.decode(low, low.luminance());
    CHECK(picture.shape() == Shape{1, 19, 22, 3});
    return !same_bits(picture, model.decode(blank, low.luminance()));
  };
  CHECK(reads_maps(true));
  CHECK_FALSE(reads_maps(false));
}

TEST_CASE("a network that is stored as bf16 takes a picture of f32, and gives one back") {
  const std::unique_ptr<Model> model = make_model("zero_dce");
  model->init_(Generator{1});
  Tensor picture = empty({1, 12, 20, 3});
  Generator generator(2);
  fill_uniform_(picture, 0, 0.3, generator);
  const EnhanceOptions whole{.order = EnhanceOptions::whole};
  const std::vector<double> exact = enhance(*model, picture, whole).to_vector();
  CHECK(model->dtype() == DType::f32);
  model->to(DType::bf16);
  CHECK(model->dtype() == DType::bf16);
  const Tensor coarse = enhance(*model, picture, whole);
  CHECK(coarse.dtype() == DType::f32);
  const std::vector<double> values = coarse.to_vector();
  double largest = 0;
  for (size_t i = 0; i < values.size(); ++i) largest = std::fmax(largest, std::fabs(values[i] - exact[i]));
  CHECK(largest > 0);
  CHECK(largest < 0.01);
}
