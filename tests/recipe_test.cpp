// training/recipe: losses, published numbers, and what is refused.
#include "luxgrad/training/recipe.h"

#include <doctest/doctest.h>

#include <cmath>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/models/default_weights.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"

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

TEST_CASE("the weights that come along were trained by the recipe that stands here") {
  const TensorFile file = parse_safetensors(default_weights("zero_dce")).value();
  for (const auto& [key, value] : facts_of(make_recipe("zero_dce", "default"))) {
    CAPTURE(key);
    REQUIRE(file.metadata.contains("config." + key));
    CHECK(file.metadata.at("config." + key) == value);
  }
  CHECK_FALSE(file.metadata.contains("config.data"));
}
