// training/recipe: losses, published numbers, and what is refused.
#include "luxgrad/training/recipe.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/node.h"
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
  const std::pair<std::string, std::vector<std::string>> all[] = {
      {"reference_guided", {"official", "fivek"}},
      {"mirnet_keras", {"keras", "soumik12345"}},
      {"mirnet_v1", {"official"}},
      {"mirnet_v2", {"official", "fivek"}},
      {"gan", {"published"}},
      {"zero_dce", {"official", "keras", "paper", "default"}},
      {"zero_dce_plus", {"official", "paper", "default"}},
      {"unet", {"published", "readme"}}};
  const Tensor low = noise({2, 32, 32, 3}, 0.3, 1), high = noise({2, 32, 32, 3}, 1, 2);
  CHECK(std::size(all) == models().size());
  for (const auto& [name, recipes] : all) {
    CHECK(recipe_names(name) == recipes);
    for (const std::string& recipe_name : recipes) {
      INFO(name << " " << recipe_name);
      const Recipe recipe = make_recipe(name, recipe_name);
      CHECK(recipe.name == recipe_name);
      const auto model = fresh(name, recipe.model);
      const auto facts = facts_of(recipe);
      std::set<std::string> reached;
      const std::vector<Update> updates = recipe.objective->updates();
      for (size_t u = 0; u < updates.size(); ++u) {
        const Frozen frozen(*model, [&](std::string_view path) { return !updates[u].moves(path); });
        const Loss loss = recipe.objective->loss(*model, {low, high}, u);
        CHECK(std::isfinite(loss.total.item()));
        double sum = 0;
        for (const auto& [term, value] : loss.terms)
          sum += std::stod(facts.at("weight." + term)) * value.item();
        CHECK(loss.total.item() == doctest::Approx(sum).epsilon(1e-5));
        model->zero_grad();
        backward(loss.total);
        for (const auto& [parameter, tensor] : model->named_parameters()) {
          if (!tensor.grad().defined()) continue;
          CHECK(updates[u].moves(parameter));
          reached.insert(parameter);
        }
      }
      CHECK(reached.size() == model->named_parameters().size());
    }
  }
}

TEST_CASE("every objective takes a network in bf16, and has losses and gradients in f32") {
  const Tensor low = noise({1, 32, 32, 3}, 0.3, 1), high = noise({1, 32, 32, 3}, 1, 2);
  for (const std::string& name : model_names()) {
    CAPTURE(name);
    const Recipe recipe = make_recipe(name, recipe_names(name).front());
    const auto model = fresh(name, recipe.model);
    const std::vector<NamedTensor> masters = model->named_parameters();
    for (size_t u = 0; u < recipe.objective->updates().size(); ++u) {
      const auto loss_of = [&] { return recipe.objective->loss(*model, {low, high}, u).total; };
      const double exact = [&] {
        const NoGrad no_grad;
        return loss_of().item();
      }();
      const Cast cast(*model, DType::bf16);
      const Tensor coarse = loss_of();
      CHECK(coarse.dtype() == DType::f32);
      CHECK(coarse.item() == doctest::Approx(exact).epsilon(0.03));
      backward(coarse);
    }
    for (const auto& [parameter, tensor] : masters) {
      REQUIRE_MESSAGE(tensor.grad().defined(), parameter);
      CHECK_MESSAGE(tensor.grad().dtype() == DType::f32, parameter);
    }
  }
}

TEST_CASE("recipes hold the published numbers") {
  struct Row {
    const char *model, *recipe, *form;
    double lr, beta1;
    int64_t batch, size, epochs, steps;
    bool shuffle, drop_last;
    Turns turns;
  };
  constexpr Row kRows[] = {
      {"reference_guided", "official", "tf1", 1e-4, 0.9, 8, 0, 1000, 0, true, true, Turns::flips},
      {"reference_guided", "fivek", "tf1", 1e-4, 0.9, 16, 128, 2000, 0, true, true, Turns::flips},
      {"mirnet_keras", "keras", "keras", 1e-4, 0.9, 4, 128, 50, 0, false, true, Turns::none},
      {"mirnet_keras", "soumik12345", "keras", 1e-4, 0.9, 16, 128, 100, 0, true, true, Turns::all},
      {"mirnet_v1", "official", "torch", 2e-4, 0.9, 16, 128, 100, 700000, true, false, Turns::all},
      {"mirnet_v2", "official", "torch", 2e-4, 0.9, 8, 128, 100, 150000, true, false, Turns::all},
      {"gan", "published", "keras", 2e-4, 0.5, 12, 256, 100, 0, true, true, Turns::none},
      {"unet", "published", "keras", 1e-3, 0.9, 8, 256, 10, 0, true, false, Turns::none},
      {"zero_dce", "official", "torch", 1e-4, 0.9, 8, 256, 200, 0, true, false, Turns::none},
      {"zero_dce", "keras", "keras", 1e-4, 0.9, 16, 256, 100, 0, false, true, Turns::none},
      {"zero_dce_plus", "official", "torch", 1e-4, 0.9, 8, 512, 100, 0, true, false, Turns::none}};
  for (const Row& row : kRows) {
    CAPTURE(row.model);
    CAPTURE(row.recipe);
    const Recipe recipe = make_recipe(row.model, row.recipe);
    CHECK(facts_of(recipe).at("adam.form") == row.form);
    CHECK(recipe.adam.lr == row.lr);
    CHECK(recipe.adam.beta1 == row.beta1);
    CHECK(recipe.adam.beta2 == 0.999);
    CHECK(recipe.batch == row.batch);
    CHECK(recipe.size == row.size);
    CHECK(recipe.epochs == row.epochs);
    CHECK(recipe.steps == row.steps);
    CHECK(recipe.shuffle == row.shuffle);
    CHECK(recipe.drop_last == row.drop_last);
    CHECK(recipe.turns == row.turns);
  }
  CHECK(facts_of(make_recipe("gan", "published")).at("adam.eps") == "1e-07");
  CHECK(facts_of(make_recipe("gan", "published")).at("weight.l1") == "100");
  CHECK(facts_of(make_recipe("gan", "published")).at("loss.dropout") == "0.5");
  CHECK(facts_of(make_recipe("gan", "published")).at("resize.mode") == "nearest");
  CHECK(facts_of(make_recipe("mirnet_v2", "official")).at("stages") ==
        "46: 8 x 128, 32: 5 x 160, 24: 4 x 192, 18: 2 x 256, 18: 1 x 320, 12: 1 x 384");
  CHECK(facts_of(make_recipe("mirnet_v2", "official")).at("mix_up.or_not") == "true");
  CHECK(facts_of(make_recipe("mirnet_v1", "official")).at("loss.within") == "true");
  CHECK(make_recipe("mirnet_v1", "official").adam.weight_decay == 1e-8);
  CHECK(make_recipe("mirnet_v1", "official").rate.back().to == 1e-6);
  CHECK(make_recipe("unet", "published").validation == 0.1);
  CHECK(facts_of(make_recipe("unet", "published")).at("resize.eight_bit") == "true");
  CHECK(make_recipe("mirnet_keras", "soumik12345").patience == 10);

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

  const Recipe guided = make_recipe("reference_guided", "default");
  CHECK(guided.name == "official");
  CHECK(guided.size == 0);
  CHECK(guided.patch == 100);
  CHECK(guided.turns == Turns::flips);
  CHECK(facts_of(guided).at("adam.eps") == "1e-08");
  CHECK(facts_of(guided).at("weight.cont") == "2");
  CHECK(facts_of(make_recipe("reference_guided", "official", "tf114")).at("loss.hsv_gradient") == "false");
  CHECK(facts_of(make_recipe("reference_guided", "fivek")).at("loss.rest") == "huber");
  const Recipe example = make_recipe("mirnet_keras", "keras", "2021");
  CHECK(example.model.at("compat") == "2021");
  CHECK(example.plateau);
  CHECK(example.turns == Turns::none);
  CHECK(make_recipe("mirnet_v1", "official").mix_up->first_epoch == 5);
  CHECK(facts_of(make_recipe("mirnet_v2", "official")).at("rate") ==
        "cosine 46: 2e-04 to 3e-04, cosine 104: 2e-04 to 1e-06");
  CHECK(make_recipe("mirnet_v2", "official").clip_norm == 0.01);
  CHECK(make_recipe("gan", "published").replacement);
  CHECK(facts_of(make_recipe("gan", "published")).at("adam.beta1") == "0.5");
  CHECK(facts_of(make_recipe("gan", "published", "norms")).at("loss.moves_norms") == "true");
  CHECK(make_recipe("unet", "published").epochs == 10);
  CHECK(make_recipe("unet", "published").turns == Turns::none);
  CHECK(facts_of(make_recipe("unet", "readme")).at("gain") == "0.8 to 1.2");
  CHECK(facts_of(make_recipe("unet", "readme")).at("turns") == "all");
  const Recipe v1 = make_recipe("mirnet_v1", "official"), v2 = make_recipe("mirnet_v2", "official");
  CHECK(v1.warm_up == 3);
  CHECK(v1.rate.front().from == 2e-4);
  CHECK(v1.rate_by_epoch);
  CHECK(v1.mix_up->beta == 1.2);
  CHECK(v1.mix_up->each);
  CHECK(v2.mix_up->beta == 1.2);
  CHECK_FALSE(v2.mix_up->each);
  CHECK_FALSE(v2.rate_by_epoch);
  CHECK(make_recipe("mirnet_keras", "keras").validation == 185.0 / 485);
  CHECK_FALSE(make_recipe("mirnet_keras", "soumik12345").plateau);
  for (const char* model : {"mirnet_keras", "mirnet_v1", "mirnet_v2"}) {
    CAPTURE(model);
    CHECK(make_recipe(model, "default").squares);
  }
  CHECK(make_recipe("reference_guided", "fivek").squares);
  CHECK(make_recipe("reference_guided", "fivek").patch == 0);
  CHECK(make_recipe("mirnet_v2", "fivek").steps == 300000);
}

TEST_CASE("the loss of reference_guided follows the options of its network") {
  const Tensor low = noise({2, 16, 16, 3}, 0.3, 1), high = noise({2, 16, 16, 3}, 1, 2);
  const auto terms_with = [&](const ModelConfig& config) {
    const Loss loss = make_recipe("reference_guided", "official")
                          .objective->loss(*fresh("reference_guided", config), {low, high});
    std::map<std::string, double> terms;
    for (const auto& [name, term] : loss.terms) terms[name] = term.item();
    return terms;
  };
  const auto plain = terms_with({}), by_picture = terms_with({{"norm", "instance"}}),
             narrow = terms_with({{"lum_dim", "8"}});
  CHECK(by_picture.at("rest") == plain.at("rest"));
  CHECK(by_picture.at("con") == plain.at("con"));
  CHECK(by_picture.at("lum") != plain.at("lum"));
  CHECK(narrow.at("con") != plain.at("con"));
}

TEST_CASE("what recipes refuse") {
  CHECK_THROWS_WITH_AS(make_recipe("no_net", "paper"), "recipe: there is none for model 'no_net'", Error);
  CHECK_THROWS_WITH_AS(make_recipe("zero_dce_plus", "keras"),
                       "recipe: expected for zero_dce_plus one of official, paper, default, got 'keras'",
                       Error);
  CHECK_THROWS_WITH_AS(make_recipe("gan", "published", "tf114"),
                       "recipe: expected for gan norms, got 'tf114'", Error);
  const auto model = fresh("zero_dce");
  const Recipe with_references = make_recipe("zero_dce", "default");
  const Tensor low = noise({1, 32, 32, 3}, 1, 1);
  CHECK_THROWS_WITH_AS(with_references.objective->loss(*model, {low}),
                       "objective: expected pictures with references", Error);
  CHECK_THROWS_WITH_AS(with_references.objective->loss(*fresh("unet"), {low, low}),
                       "objective: unet is not a network that it can train", Error);
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

TEST_CASE("nothing is random where squares are learnt by heart, dropout neither") {
  const Recipe published = make_recipe("gan", "published"), by_heart = overfitting(published, 4);
  CHECK(facts_of(published).at("loss.dropout") == "0.5");
  CHECK(facts_of(by_heart).at("loss.dropout") == "0");
  CHECK(facts_of(by_heart).at("weight.l1") == facts_of(published).at("weight.l1"));
}

TEST_CASE("a network that is guided by references is judged with them") {
  const Tensor low = noise({1, 16, 16, 3}, 0.3, 1), high = noise({1, 16, 16, 3}, 1, 2);
  const Tensor other = noise({1, 16, 16, 3}, 0.1, 3);
  const auto differs = [&](const std::string& name) {
    const auto model = fresh(name);
    const State state = model->state_dict();
    if (const auto dense = state.find("decoder.dense.weight"); dense != state.end()) {
      for (int64_t i = 0; i < dense->second.numel(); ++i) dense->second.data<float>()[i] *= 100;
    }
    const std::shared_ptr<const Objective> objective = make_recipe(name, "default").objective;
    return objective->result(*model, low, high).to_vector() !=
           objective->result(*model, low, other).to_vector();
  };
  CHECK(differs("reference_guided"));
  CHECK_FALSE(differs("unet"));
}
