// autograd/saved_map: maps that are kept as bf16 leave results as they are, gradients near, and memory free.
#include "luxgrad/autograd/saved_map.h"

#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "error_of.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/recipe.h"
#include "same_bits.h"
#include "scopes.h"

using namespace lux;

namespace {

Tensor noise(const Shape& shape, uint64_t seed, double low = -1, double high = 1) {
  Tensor x = empty(shape);
  Generator generator(seed, "saved_map_test");
  fill_uniform_(x, low, high, generator);
  return x;
}

int64_t live() { return memory::stats().live; }

// What a step of a fresh network finds, update by update.
struct Gradients {
  std::vector<double> losses;
  Tensors of_parameters;
};

StepInput pictures() { return {noise({1, 32, 32, 3}, 1, 0, 0.3), noise({1, 32, 32, 3}, 2, 0, 1)}; }

Gradients gradients(const std::string& name, bool narrow, bool recompute = false) {
  const Recipe recipe = make_recipe(name, recipe_names(name).front());
  const std::unique_ptr<Model> model = make_model(name, recipe.model);
  model->init_(Generator(1));
  model->requires_grad_();
  model->set_recompute(recompute);
  const StepInput input = pictures();
  Gradients result;
  for (size_t update = 0; update < recipe.objective->updates().size(); ++update) {
    model->zero_grad();
    const NarrowMaps maps(narrow);
    result.losses.push_back(recipe.objective->differentiate(*model, input, update).total.item());
    for (const NamedTensor& parameter : model->named_parameters())
      result.of_parameters.push_back(parameter.tensor.grad());
  }
  return result;
}

// Bytes that the graph of the last update's loss keeps.
double kept_bytes(const std::string& name, bool narrow) {
  const Recipe recipe = make_recipe(name, recipe_names(name).front());
  const std::unique_ptr<Model> model = make_model(name, recipe.model);
  model->init_(Generator(1));
  model->requires_grad_();
  const StepInput input = pictures();
  const NarrowMaps maps(narrow);
  const int64_t before = live();
  const Loss loss = recipe.objective->loss(*model, input, recipe.objective->updates().size() - 1);
  return static_cast<double>(live() - before);
}

// The norm of the difference of all gradients, over their own.
double distance(const Gradients& a, const Gradients& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.of_parameters.size(); ++i) {
    if (!b.of_parameters[i].defined()) continue;
    difference += std::pow(l2_norm(a.of_parameters[i] - b.of_parameters[i]), 2);
    norm += std::pow(l2_norm(b.of_parameters[i]), 2);
  }
  return std::sqrt(difference / norm);
}

void check_same_bits(const Gradients& a, const Gradients& b) {
  CHECK(a.losses == b.losses);
  REQUIRE(a.of_parameters.size() == b.of_parameters.size());
  for (size_t i = 0; i < a.of_parameters.size(); ++i)
    CHECK_MESSAGE(same_bits(a.of_parameters[i], b.of_parameters[i]), i);
}

}  // namespace

TEST_CASE("a map is kept as bf16, once for all that keep it; pictures and means are kept as they are") {
  const Tensor map = noise({1, 8, 8, 8}, 1), picture = noise({1, 16, 16, 3}, 2),
               mean = noise({1, 1, 1, 512}, 3), fine = noise({1, 8, 8, 8}, 4).to(DType::f64);
  const NarrowMaps narrow;
  const int64_t before = live();
  std::optional<SavedMap> one(map), other(map.with_shape({1, 4, 16, 8}));
  CHECK(live() - before == map.storage()->bytes() / 2);
  CHECK(same_bits(one->get(), map.to(DType::bf16).to(DType::f32)));
  CHECK(other->get().shape() == Shape{1, 4, 16, 8});
  one.reset();
  other.reset();
  CHECK(live() == before);
  one.emplace(map);  // a copy anew
  CHECK(live() - before == map.storage()->bytes() / 2);
  one.reset();
  for (const Tensor& exact : {picture, mean, fine}) CHECK(SavedMap(exact).get().storage() == exact.storage());
  CHECK(live() == before);
  CHECK_FALSE(SavedMap(Tensor()).get().defined());
}

TEST_CASE("what was written after it was kept is not seen, and is kept anew") {
  const Tensor map = noise({1, 8, 8, 8}, 1), first = map.clone();
  const NarrowMaps narrow;
  const SavedMap before(map);
  scale_(map, 2);
  const SavedMap after(map);
  CHECK(same_bits(before.get(), first.to(DType::bf16).to(DType::f32)));
  CHECK(same_bits(after.get(), map.to(DType::bf16).to(DType::f32)));
}

TEST_CASE("what kernels keep beside their weights does not mind a map") {
  const Tensor both = noise({8, 3, 3, 8}, 1);
  const NarrowMaps narrow;
  const auto derive = [&](const Tensor& weight) {
    return derived_weights(weight, {kExchanged}, true, [&] { return weight.clone(); });
  };
  {
    const SavedMap map(both);
    CHECK(same_bits(derive(both), both));
    CHECK(derived_weight_bytes() == 0);
  }
  const Tensor weights = both.clone();
  const Tensor derived = derive(weights);
  const SavedMap map(weights);
  CHECK(derive(weights).storage() == derived.storage());
}

TEST_CASE("maps are kept so while one lives that is on, and by this thread") {
  const Tensor map = noise({1, 8, 8, 8}, 1);
  const auto kept_narrow = [&] { return SavedMap(map).get().storage() != map.storage(); };
  CHECK_FALSE(kept_narrow());
  {
    const NarrowMaps off(false);
    CHECK_FALSE(kept_narrow());
    const NarrowMaps on;
    CHECK(kept_narrow());
    const NarrowMaps inner(false);
    CHECK(kept_narrow());
  }
  CHECK_FALSE(kept_narrow());
}

// The largest value of a pixel is found again among the rounded ones.
TEST_CASE("the gradient of the largest value of a pixel arrives") {
  const Tensor x = noise({1, 4, 4, 32}, 1).requires_grad_();
  const NarrowMaps narrow;
  backward(sum(attention_pool(x).largest));
  CHECK(sum(x.grad()).item() == doctest::Approx(16));
}

TEST_CASE("networks have the same losses with maps kept as bf16, and gradients that are near") {
  for (const std::string name : {"reference_guided", "zero_dce", "unet", "mirnet_v2"}) {
    CAPTURE(name);
    const Gradients exact = gradients(name, false), near = gradients(name, true);
    CHECK(near.losses == exact.losses);
    const double error = distance(near, exact);
    const double share = kept_bytes(name, true) / kept_bytes(name, false);
    MESSAGE(name << ": gradients " << error << " off, " << share << " of what is kept");
    CHECK(error > 0);
    CHECK(error < 0.02);
    CHECK(share < 0.75);
  }
}

TEST_CASE("gradients have the same bits for any number of threads, and where maps are computed again") {
  for (const char* const name : {"reference_guided", "mirnet_v2"}) {
    CAPTURE(std::string(name));
    const Gradients expected = gradients(name, true);
    for (const int count : {1, 3}) {
      const Threads threads(count);
      check_same_bits(gradients(name, true), expected);
    }
    check_same_bits(gradients(name, true, true), expected);
  }
}

// Plain kernels have no workspaces, which bf16 makes smaller, too.
TEST_CASE("a step in bf16 on the CPU keeps its maps so") {
  const PlainKernels plain;
  const auto peak = [](Precision precision) {
    const PrecisionScope scope(precision);
    memory::reset_peak();
    const int64_t before = live();
    (void)gradients("zero_dce", false);
    return static_cast<double>(memory::stats().peak - before);
  };
  CHECK(peak(Precision::bf16) < 0.9 * peak(Precision::fp32));
}
