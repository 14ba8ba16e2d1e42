// Three whole steps of the adversaries against the authors' code: every loss, the gradients of the first
// step, weights and moving statistics after it and after the last.
#include <doctest/doctest.h>

#include "golden.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/recipes/gan.h"
#include "luxgrad/training/stepper.h"

using namespace lux;

namespace {

class GanStepProof {
 public:
  GanStepProof(const Golden& golden, DType dtype) : golden_(golden), dtype_(dtype) {
    const auto& options = golden.config.at("options");
    recipe_ = make_recipe("gan", "published");
    recipe_.objective = std::make_shared<Adversarial>(
        AdversarialOptions{.dropout = options.at("dropout"),
                           .moves_norms = options.value("train_discriminator_bn_in_generator_step", false)});
    State state;
    for (const auto& [name, tensor] : model_.state_dict())
      state[name] = golden.parameter(name, tensor.shape());
    model_.load_state_dict(state);
    model_.to(dtype);
    model_.to(golden_device());
    model_.requires_grad_();
    const auto picture = [&](const char* name) {
      return ((golden.at(name).to(dtype) + 1.0) * 0.5).to(golden_device());
    };
    input_ = {picture("input.low"), picture("input.high")};
  }

  void run() {
    compare("output.fake_before", fake(), tolerance(0));
    gradients_of_first_update();
    Stepper stepper(recipe_, model_);
    const Tensor terms = golden_.at("train.terms");
    for (int64_t step = 0; step < terms.size(0); ++step) {
      CAPTURE(step);
      const StepOutcome outcome = stepper.step(input_, recipe_.adam.lr);
      REQUIRE(outcome.failed == -1);
      const std::vector<std::string> names = {"d_real", "d_fake", "adversarial", "l1", "total"};
      for (const auto& loss : outcome.losses) {
        const std::string& name = loss.first;
        const double value = loss.second;
        const auto column = std::find(names.begin(), names.end(), name) - names.begin();
        REQUIRE(column < terms.size(1));
        const double expected = terms.to_vector()[static_cast<size_t>(step * terms.size(1) + column)];
        CHECK_MESSAGE(std::abs(value - expected) <= tolerance(step) * std::abs(expected), name, ": expected ",
                      expected, ", got ", value);
      }
      if (step == 0) {
        gradients_of_step();
        weights("train.weight_norm.after1.", tolerance(1));
      }
    }
    // In f32 the last weights are no proof: where a gradient is rounding, Adam steps either way.
    if (dtype_ != DType::f64) return;
    weights("train.weight_norm.", tolerance(2));
    compare("output.fake_after", fake(), tolerance(2));
  }

 private:
  Tensor fake() const {
    const NoGrad no_grad;
    return model_.generator(2.0 * input_.low - 1.0, {});
  }

  double tolerance(int64_t step) const {
    constexpr double kF32[] = {2e-5, 1e-3, 1e-2};
    return dtype_ == DType::f64 ? 1e-8 : kF32[step];
  }

  void compare(const std::string& name, const Tensor& actual, double relative, double absolute = 0) const {
    const std::string text =
        difference(name, actual.to(DType::f64), golden_.at(name).to(DType::f64), relative, absolute);
    CHECK_MESSAGE(text.empty(), text);
  }

  // The gradient of a bias before a batch norm is 0 but for rounding.
  void compare_gradients(const std::string& prefix) const {
    int64_t compared = 0;
    for (const auto& [name, parameter] : model_.named_parameters()) {
      if (!golden_.has(prefix + name)) continue;
      compare(prefix + name, full({}, l2_norm(parameter.grad()), {DType::f64, kCpu}),
              dtype_ == DType::f64 ? 1e-8 : 1e-3, dtype_ == DType::f64 ? 1e-10 : 1e-4);
      ++compared;
    }
    CHECK(compared > 0);
  }

  void gradients_of_first_update() {
    StepInput still = input_;
    still.statistics = false;
    (void)recipe_.objective->differentiate(model_, still);
    compare_gradients("step1.d_real.grad_norm.");
    model_.zero_grad();
  }

  // What the last updates of both optimisers left.
  void gradients_of_step() const {
    compare_gradients("step1.g.grad_norm.");
    if (!golden_.config.at("options").contains("train_discriminator_bn_in_generator_step"))
      compare_gradients("step1.d_fake.grad_norm.");
  }

  void weights(const std::string& prefix, double relative) const {
    const auto& zero = golden_.config.at("zero_gradient_params");
    for (const auto& [name, tensor] : model_.state_dict()) {
      const bool noise = std::find(zero.begin(), zero.end(), name) != zero.end();
      REQUIRE(golden_.has(prefix + name));
      if (noise && dtype_ != DType::f64) continue;
      compare(prefix + name, full({}, l2_norm(tensor), {DType::f64, kCpu}), relative);
    }
  }

  const Golden& golden_;
  DType dtype_;
  Recipe recipe_;
  Gan model_;
  StepInput input_;
};

void prove(DType dtype) {
  for (const char* const variant : {"step", "step_quirk"}) {
    for (const Golden& golden : goldens_of_model("gan")) {
      if (golden.metadata("variant") != variant) continue;
      CAPTURE(golden.name);
      GanStepProof(golden, dtype).run();
    }
  }
}

}  // namespace

TEST_CASE("steps of the adversaries equal the authors' in f64") { prove(DType::f64); }
TEST_CASE("steps of the adversaries equal the authors' in f32") { prove(DType::f32); }
