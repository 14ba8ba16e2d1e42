// training/: recipes and evaluation.
#include "luxgrad/training/recipe.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/models/default_weights.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/training/evaluate.h"
#include "luxgrad/training/metrics.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

Tensor noise(const Shape& shape, double high, uint64_t seed) {
  Tensor picture = empty(shape);
  Generator generator(seed, "recipe_test");
  fill_uniform_(picture, 0, high, generator);
  return picture;
}

std::unique_ptr<Model> fresh(const std::string& name, const ModelConfig& config = {}) {
  auto model = make_model(name, config);
  model->requires_grad_();
  model->init_(Generator(1));
  return model;
}

}  // namespace

TEST_CASE("every recipe gives a finite loss that reaches every parameter") {
  const std::pair<const char*, std::vector<const char*>> all[] = {
      {"zero_dce", {"official", "keras", "paper", "default"}},
      {"zero_dce_plus", {"official", "paper", "default"}}};
  const Tensor low = noise({1, 32, 32, 3}, 0.3, 1), high = noise({1, 32, 32, 3}, 1, 2);
  for (const auto& [name, recipes] : all) {
    for (const char* const recipe_name : recipes) {
      INFO(name << " " << recipe_name);
      const Recipe recipe = make_recipe(name, recipe_name);
      CHECK(recipe.name == recipe_name);
      const auto model = fresh(name, recipe.model);
      const Loss loss = loss_of(recipe, dynamic_cast<const CurveModel&>(*model), low, high);
      CHECK(std::isfinite(loss.total.item()));
      double sum = 0;
      const auto facts = facts_of(recipe);
      for (const auto& [term, value] : loss.terms)
        sum += std::stod(facts.at("weight." + term)) * value.item();
      CHECK(loss.total.item() == doctest::Approx(sum).epsilon(1e-5));
      backward(loss.total);
      for (const auto& [parameter, tensor] : model->named_parameters()) {
        INFO(parameter);
        CHECK(tensor.grad().defined());
      }
    }
  }
}

TEST_CASE("recipes hold the published numbers") {
  const Recipe official = make_recipe("zero_dce", "official"), keras = make_recipe("zero_dce", "keras");
  CHECK(official.clip_norm == 0.1);
  CHECK(official.adam.weight_decay == 1e-4);
  CHECK(official.size == 256);
  CHECK(facts_of(official).at("resize.mode") == "lanczos");
  CHECK(facts_of(official).at("weight.tv") == "200");
  CHECK(keras.batch == 16);
  CHECK(keras.glorot_init);
  CHECK(keras.drop_last);
  CHECK_FALSE(keras.shuffle);
  CHECK(facts_of(keras).at("adam.form") == "keras");
  CHECK(facts_of(make_recipe("zero_dce_plus", "official")).at("weight.tv") == "1600");
  CHECK(facts_of(make_recipe("zero_dce", "paper")).at("weight.col") == "0.5");
}

TEST_CASE("what recipes refuse") {
  CHECK_THROWS_WITH_AS(make_recipe("unet", "paper"), "recipe: there is none for model 'unet'", Error);
  CHECK_THROWS_WITH_AS(make_recipe("zero_dce_plus", "keras"),
                       "recipe: expected for zero_dce_plus one of official, paper, default, got 'keras'",
                       Error);
  const auto model = fresh("zero_dce");
  CHECK_THROWS_WITH_AS(loss_of(make_recipe("zero_dce", "default"), dynamic_cast<const CurveModel&>(*model),
                               noise({1, 32, 32, 3}, 1, 1), {}),
                       "recipe default: expected pictures with references", Error);
}

TEST_CASE("evaluation compares every enhanced picture with its reference") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "low");
  std::filesystem::create_directories(folder.path() / "high");
  for (const std::string name : {"b.png", "a, \"x\".png"}) {
    save_image(folder.path() / "low" / name, from_tensor(noise({1, 17, 13, 3}, 0.3, name.size())));
    save_image(folder.path() / "high" / name, from_tensor(noise({1, 17, 13, 3}, 1, 7)));
  }
  const auto pairs = paired_folder(folder.path() / "low", folder.path() / "high");
  const auto model = make_model("zero_dce");  // all weights zero: the curve changes nothing
  int64_t seen = 0;
  const Evaluation evaluation = evaluate(*model, pairs, [&](const ImageScores&) { ++seen; });
  CHECK(seen == 2);
  REQUIRE(evaluation.images.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const Tensor low = to_tensor(load_image(pairs[i].low)), high = to_tensor(load_image(pairs[i].high));
    const Scores& scores = evaluation.images[i].scores;
    CHECK(scores.psnr == metrics::psnr(low, high));
    CHECK(scores.psnr_uint8 == doctest::Approx(scores.psnr).epsilon(1e-6));
    CHECK(scores.ssim == metrics::ssim(low, high));
    CHECK(scores.psnr_gt_mean == metrics::psnr(metrics::match_mean(low, high), high));
  }
  CHECK(evaluation.mean.psnr ==
        doctest::Approx((evaluation.images[0].scores.psnr + evaluation.images[1].scores.psnr) / 2)
            .epsilon(1e-12));
  const std::string csv = to_csv(evaluation);
  CHECK(csv.starts_with("image,psnr,ssim,psnr_uint8,psnr_gt_mean\n\"a, \"\"x\"\".png\","));
  CHECK(csv.find("\nmean,") != std::string::npos);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 4);
}

TEST_CASE("what evaluation refuses") {
  const TemporaryFolder folder;
  const std::string low = folder.path() / "low.png", high = folder.path() / "high.png";
  save_image(low, from_tensor(full({1, 16, 16, 3}, 0.1)));
  save_image(high, from_tensor(full({1, 16, 17, 3}, 0.5)));
  const auto model = make_model("zero_dce");
  CHECK_THROWS_WITH_AS(evaluate(*model, {}), "evaluate: expected at least one pair of pictures", Error);
  CHECK_THROWS_WITH_AS(evaluate(*model, {{"x", low, ""}}), "evaluate: expected a reference for x", Error);
  CHECK_THROWS_WITH_AS(evaluate(*model, {{"x", low, high}}),
                       "evaluate: x: expected a pair of one size, got [1, 16, 16, 3] and [1, 16, 17, 3]",
                       Error);
}

TEST_CASE("the weights that come along were trained by the recipe that stands here") {
  const TensorFile file = parse_safetensors(default_weights("zero_dce")).value();
  for (const auto& [key, value] : facts_of(make_recipe("zero_dce", "default"))) {
    CAPTURE(key);
    REQUIRE(file.metadata.contains("config." + key));
    CHECK(file.metadata.at("config." + key) == value);
  }
  CHECK_FALSE(file.metadata.contains("config.data"));
}
