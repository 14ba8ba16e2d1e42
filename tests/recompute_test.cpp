// Recomputation: parts of a network that run again in the backward pass give the same bits, for less memory.
#include "luxgrad/autograd/recompute.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>

#include "error_of.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/dropout.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/layers/batch_norm2d.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/mirnet_keras.h"
#include "luxgrad/models/mirnet_v1.h"
#include "luxgrad/models/mirnet_v2.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/non_finite.h"
#include "luxgrad/training/recipes/gan.h"
#include "luxgrad/training/stepper.h"
#include "same_bits.h"

using namespace lux;

namespace {

Tensor noise(const Shape& shape, uint64_t seed, double low = -1, double high = 1) {
  Tensor x = empty(shape);
  Generator generator(seed, "recompute_test");
  fill_uniform_(x, low, high, generator);
  return x;
}

int64_t live() { return memory::stats().live; }

// A trainable copy of each.
Tensors leaves(const Tensors& values) {
  Tensors copies;
  for (const Tensor& value : values) copies.push_back(value.clone().requires_grad_());
  return copies;
}

// x is read by two parts and between them, the parameter w by everything: sums of many terms, whose last bits
// tell in which order they were added.
Tensors gradients(bool on, bool nested) {
  const Tensors leaf = leaves({noise({40}, 1), noise({40}, 2)});
  const Tensor x = leaf[0] * 1.7, w = leaf[1];
  const auto inner = [w](const Tensors& in) {
    return tanh(in[0] * w) + dropout(in[0] * in[0], 0.5, 9) + in[0] * in[1];
  };
  const auto outer = [&, inner](const Tensors& in) {
    return in[0] * recompute_if(on && nested, inner, in) + square(in[0]);
  };
  const Tensor y = recompute_if(on, outer, {x, w}) * x;
  const Tensor z = recompute_if(on, outer, {y, x});
  backward(sum(z * x + dropout(z, 0.3, 7) * w));
  return {z.detach(), leaf[0].grad(), leaf[1].grad()};
}

StepInput pictures(int64_t side) {
  const Tensor high = noise({2, side, side, 3}, 3, 0.2, 0.9);
  return {high * 0.1, high, 5};
}

// Three steps of the published recipe.
struct Trained {
  std::vector<std::pair<std::string, double>> losses;  // of all steps
  Tensor norms;
  State gradients, weights, moments;  // of the last one
};

// The networks with blocks, narrow.
std::vector<std::unique_ptr<Model>> narrow_models() {
  std::vector<std::unique_ptr<Model>> list;
  list.push_back(std::make_unique<ReferenceGuided>(ReferenceGuidedOptions{.width = 4}));
  list.push_back(std::make_unique<ReferenceGuided>(ReferenceGuidedOptions{.skip = false, .width = 4}));
  list.push_back(std::make_unique<MirnetKeras>(MirnetKeras::Compat::y2023, 8, 1));
  list.push_back(std::make_unique<MirnetKeras>(MirnetKeras::Compat::y2021, 8, 1));
  list.push_back(std::make_unique<MirnetV1>(8, 2));
  list.push_back(std::make_unique<MirnetV2>(16, 3));
  list.push_back(std::make_unique<Gan>(8));
  return list;
}

Trained trained(Model& model, bool recompute, const Recipe& recipe) {
  model.init_(Generator(1));
  model.requires_grad_();
  model.set_recompute(recompute);
  Stepper stepper(recipe, model);
  Trained result;
  std::vector<double> norms;
  for (uint64_t step = 0; step < 3; ++step) {
    StepInput input = pictures(32);
    input.key = step;
    const StepOutcome outcome = stepper.step(input, 1e-4);
    result.losses.insert(result.losses.end(), outcome.losses.begin(), outcome.losses.end());
    norms.push_back(outcome.grad_norm);
  }
  result.norms = from_vector(norms, {3}, {DType::f64});
  for (const auto& [name, parameter] : model.named_parameters()) result.gradients[name] = parameter.grad();
  result.weights = model.state_dict();
  result.moments = stepper.state_dict();
  return result;
}

void check_same_state(const State& one, const State& other) {
  REQUIRE(one.size() == other.size());
  for (const auto& [name, tensor] : one) CHECK_MESSAGE(same_bits(tensor, other.at(name)), name);
}

void check_same(const Trained& one, const Trained& other) {
  CHECK(one.losses == other.losses);
  CHECK(same_bits(one.norms, other.norms));
  check_same_state(one.gradients, other.gradients);
  check_same_state(one.weights, other.weights);
  check_same_state(one.moments, other.moments);
}

}  // namespace

TEST_CASE("gradients have the bits that they have without, wherever their terms come from") {
  const Tensors plain = gradients(false, false);
  for (const bool nested : {false, true}) {
    const Tensors again = gradients(true, nested);
    for (size_t i = 0; i < plain.size(); ++i) CHECK_MESSAGE(same_bits(again[i], plain[i]), i);
  }
}

TEST_CASE("of a part only its inputs and its result are kept") {
  const Tensors leaf = leaves({noise({1000}, 1)});
  const int64_t before = live();
  {
    const auto part = [](Tensors in) {
      for (int i = 0; i < 10; ++i) in = {tanh(in[0])};
      return in[0];
    };
    const Tensor y = recompute(part, leaf);
    CHECK(live() - before == 4000);
    memory::reset_peak();
    backward(sum(recompute(part, {y})));
    // y, ten results, and a gradient that becomes the next.
    CHECK(memory::stats().peak - before <= 14 * 4000 + 100);
    CHECK(live() - before == 2 * 4000);
  }
  CHECK(live() - before == 4000);
  const auto part = [](const Tensors& in) { return tanh(in[0]); };
  CHECK_FALSE(recompute(part, {leaf[0].detach()}).requires_grad());
  const NoGrad no_grad;
  CHECK_FALSE(recompute(part, leaf).requires_grad());
}

TEST_CASE("a part runs again once, and not on other parameters than before") {
  const Tensors leaf = leaves({noise({8}, 1), noise({8}, 2)});
  const Tensor w = leaf[1];
  int runs = 0;
  const auto part = [&runs, w](const Tensors& in) {
    ++runs;
    return tanh(in[0]) * w;
  };
  const Tensor y = sum(recompute(part, {leaf[0]}));
  CHECK(runs == 1);
  backward(y);
  CHECK(runs == 2);
  CHECK(error_of([&] { backward(y); }) ==
        "backward: the graph at sum was already consumed by an earlier backward");

  const Tensor z = sum(recompute(part, {leaf[0]}));
  fill_(w, 1);
  CHECK(error_of([&] { backward(z); }) ==
        "backward: a tensor that the gradient needs was changed in place after the forward pass, shape [8]");
}

TEST_CASE("a part may have trained parameters only, or be frozen in between") {
  const Tensors leaf = leaves({noise({8}, 1)});
  Tensor w = leaf[0];
  const Tensor x = noise({8}, 2);
  const auto part = [w](const Tensors& in) { return in[0] * w; };
  backward(sum(recompute(part, {x})));
  CHECK(same_bits(w.grad(), x));

  w.set_grad({});
  const Tensor y = sum(recompute(part, {x}));
  w.requires_grad_(false);
  backward(y);
  w.requires_grad_();
  CHECK_FALSE(w.grad().defined());
}

TEST_CASE("moving statistics take notice of the first run only") {
  struct Net : Module {
    BatchNorm2d norm{*this, "norm", 3};
  };
  const Tensors leaf = leaves({noise({2, 4, 4, 3}, 1)});
  State state[2];
  for (const bool on : {false, true}) {
    const Net net;
    const auto part = [&](const Tensors& in) { return net.norm(in[0], {BatchNormMode::batch, true}); };
    backward(sum(square(recompute_if(on, part, leaf))));
    state[on] = net.state_dict();
  }
  CHECK_FALSE(recomputing());
  check_same_state(state[0], state[1]);
}

TEST_CASE("a part that gives something else in its second run is refused") {
  const Tensors leaf = leaves({noise({8}, 1)});
  int runs = 0;
  const auto part = [&runs](const Tensors& in) { return ++runs == 1 ? sum(in[0]) : tanh(in[0]); };
  const Tensor y = recompute(part, leaf);
  CHECK(error_of([&] { backward(y); }) == "recompute: expected f32 [] again, got f32 [8]");
}

TEST_CASE("a part that fails in its second run leaves everything in order") {
  const Tensors leaf = leaves({noise({8}, 1)});
  int runs = 0;
  const auto part = [&runs](const Tensors& in) {
    check(++runs < 2, "no second time");
    return tanh(in[0]);
  };
  const Tensor y = sum(recompute(part, leaf));
  CHECK(error_of([&] { backward(y); }) == "no second time");
  CHECK(grad_enabled());
  CHECK_FALSE(recomputing());
}

TEST_CASE("every network with blocks trains with the same bits, adversaries included") {
  std::set<std::string> names;
  for (const std::string& name : model_names()) {
    if (make_model(name)->traits().blocks) names.insert(name);
  }
  const auto some = narrow_models(), others = narrow_models();
  for (size_t i = 0; i < some.size(); ++i) {
    CAPTURE(some[i]->name());
    names.erase(some[i]->name());
    const Recipe recipe = make_recipe(some[i]->name(), "default");
    check_same(trained(*others[i], true, recipe), trained(*some[i], false, recipe));
  }
  CHECK(names.empty());
}

TEST_CASE("a step that is not finite is taken back in the same way") {
  Recipe recipe = make_recipe("gan", "default");  // its discriminator learns, its generator cannot
  recipe.objective =
      std::make_shared<Adversarial>(AdversarialOptions{.l1 = std::numeric_limits<double>::infinity()});
  Gan some(8), others(8);
  const Trained plain = trained(some, false, recipe);
  CHECK(plain.moments.at("discriminator/step").data<int64_t>()[0] == 6);
  CHECK(plain.moments.at("generator/step").data<int64_t>()[0] == 0);
  check_same(trained(others, true, recipe), plain);
}

TEST_CASE("a gradient that is not finite is found at the operator within a part") {
  std::string found[2];
  for (const bool on : {false, true}) {
    const Tensors leaf = leaves({full({3}, 1e-30)});
    const auto part = [](const Tensors& in) { return in[0] * 1e30 * 1e30; };
    const FirstNonFinite watch;
    backward(sum(recompute_if(on, part, leaf)));
    found[on] = watch.found();
  }
  CHECK(found[0] == "mul: element 0 of the gradient of input 0, shape [3]");
  CHECK(found[1] == found[0]);
}

TEST_CASE("the first number that is not finite is found in the same place") {
  std::string where[2];
  for (const bool on : {false, true}) {
    const std::unique_ptr<Model> model = make_model("reference_guided");
    model->init_(Generator(1));
    model->requires_grad_();
    model->set_recompute(on);
    const State state = model->state_dict();
    state.at("decoder.conv7_2.weight").data<float>()[3] = std::numeric_limits<float>::infinity();
    StepInput input = pictures(16);
    where[on] = first_not_finite(*make_recipe("reference_guided", "default").objective, 0, *model, input,
                                 {"a.png", "b.png"});
  }
  CHECK(where[0].find("decoder.conv7_2.weight") != std::string::npos);
  CHECK(where[1] == where[0]);
}
