// What the device has to show as a whole, a GPU or the one that the CPU plays (preset `emulated`): runs that
// repeat to the bit, and memory that runs out. Without a device it is skipped. tools/gpu_check.sh runs it.
#include "gpu.h"

#include <doctest/doctest.h>

#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/training/recipe.h"
#include "luxgrad/training/stepper.h"
#include "same_bits.h"

using namespace lux;

namespace {

constexpr int kRuns = 10;

bool has_gpu() {
  const std::string absence = absence_of_gpu();
  if (!absence.empty()) MESSAGE("skipped: ", absence);
  return absence.empty();
}

/// The CPU plays larger networks for too long.
std::vector<std::string> networks() {
  return cuda::is_real() ? model_names() : std::vector<std::string>{"zero_dce", "zero_dce_plus"};
}

std::unique_ptr<Model> network_on_device(const std::string& name) {
  std::unique_ptr<Model> model = make_model(name);
  model->init_(Generator{1});
  model->to(kGpu);
  return model;
}

Tensor noise(const Shape& shape) {
  Tensor picture = empty(shape);
  Generator generator(1, "picture");
  fill_uniform_(picture, 0, 0.3, generator);
  return picture;
}

/// Losses of some steps on the same pictures, from the same weights; everything that lasts is of f32.
std::vector<double> losses_in(Precision precision, const std::string& name, int64_t side, int steps) {
  const PrecisionScope scope(precision);
  const std::unique_ptr<Model> model = network_on_device(name);
  const Recipe recipe = make_recipe(name, recipe_names(name).front());
  model->requires_grad_();
  Stepper stepper(recipe, *model);
  const StepInput input{noise({1, side, side, 3}), full({1, side, side, 3}, 0.6)};
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    const StepOutcome outcome = stepper.step(input, 1e-3);
    CHECK(outcome.failed < 0);
    losses.push_back(outcome.losses.front().second);
  }
  for (const auto& [parameter, tensor] : model->state_dict())
    CHECK_MESSAGE(tensor.dtype() == DType::f32, parameter);
  for (const auto& [moment, tensor] : stepper.state_dict())
    CHECK_MESSAGE((tensor.dtype() == DType::f32 || moment.ends_with("step")), moment);
  return losses;
}

/// A step of the model's recipe from new weights: the weights that it leads to, on the CPU.
State after_a_step(const std::string& name) {
  const std::unique_ptr<Model> model = network_on_device(name);
  const Recipe recipe = make_recipe(name, recipe_names(name).front());
  model->requires_grad_();
  Stepper stepper(recipe, *model);
  const int64_t side = std::max<int64_t>(cuda::is_real() ? 64 : 16, recipe.objective->smallest_size());
  const StepInput input{noise({2, side, side, 3}), noise({2, side, side, 3})};
  const StepOutcome outcome = stepper.step(input, 1e-3);
  CHECK(outcome.failed < 0);
  State state;
  for (const auto& [parameter, tensor] : model->state_dict()) state[parameter] = tensor.to(kCpu);
  return state;
}

}  // namespace

TEST_CASE("ten runs of a network on the device have the same bits") {
  if (!has_gpu()) return;
  const int64_t side = cuda::is_real() ? 96 : 16;
  for (const std::string& name : networks()) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = network_on_device(name);
    const Tensor picture = noise({1, side, side + 8, 3}), first = enhance(*model, picture);
    for (int run = 1; run < kRuns; ++run) CHECK(same_bits(enhance(*model, picture), first));
  }
}

TEST_CASE("ten training steps from the same weights on the device lead to the same bits") {
  if (!has_gpu()) return;
  for (const std::string& name : networks()) {
    CAPTURE(name);
    const State first = after_a_step(name);
    for (int run = 1; run < (cuda::is_real() ? kRuns : 2); ++run) {
      for (const auto& [parameter, tensor] : after_a_step(name))
        CHECK_MESSAGE(same_bits(tensor, first.at(parameter)), parameter);
    }
  }
}

TEST_CASE("training in bf16 learns as in f32, and keeps what lasts in f32") {
  if (!has_gpu()) return;
  const int64_t side = cuda::is_real() ? 64 : 16;
  for (const char* name : {"zero_dce", "unet"}) {
    CAPTURE(std::string(name));
    const int steps = cuda::is_real() ? 20 : 3;
    const std::vector<double> exact = losses_in(Precision::fp32, name, side, steps),
                              coarse = losses_in(Precision::bf16, name, side, steps);
    CHECK(exact.back() < exact.front());
    CHECK(coarse.back() < coarse.front());
    CHECK(coarse != exact);
    for (size_t step = 0; step < exact.size(); ++step)
      CHECK(coarse[step] == doctest::Approx(exact[step]).epsilon(0.02));
  }
}

TEST_CASE("whichever allocation of the device fails is one error, and everything is given back") {
  if (!has_gpu()) return;
  const std::unique_ptr<Model> model = network_on_device("zero_dce");
  const Tensor picture = noise({1, 16, 16, 3}), expected = enhance(*model, picture);
  const int64_t live = cuda::memory_stats().live;
  // The first, and then every `stride`th; returns how many there are.
  const auto failures_of = [&](int64_t stride, const auto& work) {
    for (int64_t failing = 1;; failing += stride) {
      cuda::fail_allocation(failing);
      try {
        work();
        cuda::fail_allocation(0);
        return failing - 1;
      } catch (const OutOfMemory&) {
      }
      CHECK(cuda::memory_stats().live == live);
    }
  };
  CHECK(failures_of(1, [&] { enhance(*model, picture); }) >= 8);  // seven layers and the curve
  CHECK(same_bits(enhance(*model, picture), expected));
  CHECK(failures_of(cuda::is_real() ? 1 : 25, [] { after_a_step("zero_dce"); }) >= 50);
  CHECK(same_bits(enhance(*model, picture), expected));
}
