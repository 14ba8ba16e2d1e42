// What the device has to show as a whole, a GPU or the one that the CPU plays (preset `emulated`): runs that
// repeat to the bit, and memory that runs out. Without a device it is skipped. tools/gpu_check.sh runs it.
#include "gpu.h"

#include <doctest/doctest.h>

#include <limits>

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/bytes.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
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

Tensor noise(const Shape& shape, int64_t seed = 1) {
  Tensor picture = empty(shape);
  Generator generator(static_cast<uint64_t>(seed), "picture");
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

State on_cpu(const State& state) {
  State there;
  for (const auto& [name, tensor] : state) there[name] = tensor.to(kCpu);
  return there;
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
  return on_cpu(model->state_dict());
}

struct Training {
  std::vector<StepOutcome> outcomes;
  State weights, moments;
};

/// Steps of the model's recipe from new weights, on other pictures and at another rate each time, of which
/// one is not finite.
Training trained(const std::string& name) {
  const std::unique_ptr<Model> model = network_on_device(name);
  const Recipe recipe = make_recipe(name, recipe_names(name).front());
  model->requires_grad_();
  Stepper stepper(recipe, *model);
  const int64_t side = std::max<int64_t>(cuda::is_real() ? 64 : 16, recipe.objective->smallest_size());
  Training all;
  for (int step = 0; step < 5; ++step) {
    StepInput input{noise({1, side, side, 3}, step), noise({1, side, side, 3}, step + 100)};
    input.key = static_cast<uint64_t>(step);
    if (step == 3) fill_(input.low, std::numeric_limits<double>::quiet_NaN());
    all.outcomes.push_back(stepper.step(input, 1e-3 / (step + 1)));
  }
  all.weights = on_cpu(model->state_dict());
  all.moments = on_cpu(stepper.state_dict());
  return all;
}

void check_same(const State& actual, const State& expected) {
  for (const auto& [name, tensor] : expected) CHECK_MESSAGE(same_bits(actual.at(name), tensor), name);
}

}  // namespace

TEST_CASE("samples of photos become numbers and samples again as on the CPU") {
  if (!has_gpu()) return;
  const Tensor wild = noise({1, 11, 13, 3}) * 6 - 0.5;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int channels : {1, 2, 3, 4}) {
      for (const int64_t bytes : {1, 2}) {
        const Tensor photo = empty({1, 11, 13, channels * bytes}, {DType::u8, kCpu});
        for (int64_t i = 0; i < photo.numel(); ++i) photo.data<uint8_t>()[i] = static_cast<uint8_t>(i * 7);
        CHECK(same_bits(from_samples(photo.to(kGpu), channels, dtype).to(kCpu),
                        from_samples(photo, channels, dtype)));
      }
    }
    for (const int bits : {8, 16}) {
      const Tensor values = wild.to(dtype);
      CHECK(same_bits(to_samples(values.to(kGpu), bits).to(kCpu), to_samples(values, bits)));
    }
  }
}

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

TEST_CASE("networks that run as graphs have the bits of those launched kernel by kernel") {
  if (!has_gpu()) return;
  const int64_t side = cuda::is_real() ? 96 : 12;
  for (const std::string& name : networks()) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = network_on_device(name);
    // Sizes by turns, one of them padded; the picture is the host's or the device's.
    for (int64_t run = 0; run < 6; ++run) {
      const Tensor picture = noise({1, side, side + run % 2, 3}, run);
      Tensor expected;
      {
        const NoGraphs launches_only;
        expected = enhance(*model, picture);
      }
      CHECK(same_bits(enhance(*model, run < 4 ? picture : picture.to(kGpu)).to(kCpu), expected));
    }
    // New weights in the place of the old, then elsewhere.
    for (const bool moved : {false, true}) {
      const std::unique_ptr<Model> other = make_model(name);
      other->init_(Generator{2});
      model->load_state_dict(other->state_dict());
      if (moved) model->to(kCpu);
      model->to(kGpu);
      const Tensor picture = noise({1, side, side, 3});
      const Tensor actual = enhance(*model, picture);
      const NoGraphs launches_only;
      CHECK(same_bits(actual, enhance(*model, picture)));
    }
  }
}

TEST_CASE("training as graphs has the bits of training kernel by kernel") {
  if (!has_gpu()) return;
  for (const std::string& name : networks()) {
    CAPTURE(name);
    const Training actual = trained(name);
    const NoGraphs launches_only;
    const Training expected = trained(name);
    for (size_t i = 0; i < expected.outcomes.size(); ++i) {
      CAPTURE(i);
      const StepOutcome &a = actual.outcomes[i], &e = expected.outcomes[i];
      CHECK(a.failed == e.failed);
      CHECK((e.failed >= 0) == (i == 3));
      CHECK(a.known_finite);
      if (i == 3) continue;
      CHECK(a.losses == e.losses);
      CHECK(a.grad_norm == e.grad_norm);
    }
    check_same(actual.weights, expected.weights);
    check_same(actual.moments, expected.moments);
    for (const auto& [moment, tensor] : actual.moments)  // the step that is not finite has changed nothing
      CHECK_MESSAGE((tensor.dtype() == DType::i64 || first_non_finite(tensor) < 0), moment);
  }
}

TEST_CASE("whichever allocation of the device fails is one error, and everything is given back") {
  if (!has_gpu()) return;
  const NoGraphs launches_only;  // which give their memory back first, and the request succeeds
  const std::unique_ptr<Model> model = network_on_device("zero_dce");
  const Tensor picture = noise({1, 16, 16, 3}), expected = enhance(*model, picture);
  const int64_t live = cuda::memory_stats().live;
  int64_t named = 0;  // errors that name an operator
  // The first, and then every `stride`th; returns how many there are.
  const auto failures_of = [&](int64_t stride, const auto& work) {
    for (int64_t failing = 1;; failing += stride) {
      cuda::fail_allocation(failing);
      try {
        work();
        cuda::fail_allocation(0);
        return failing - 1;
      } catch (const OutOfMemory& error) {
        named += std::string_view(error.what()).find(", in ") != std::string_view::npos;
      }
      CHECK(cuda::memory_stats().live == live);
    }
  };
  CHECK(failures_of(1, [&] { enhance(*model, picture); }) >= 8);  // seven layers and the curve
  CHECK(named >= 8);
  CHECK(same_bits(enhance(*model, picture), expected));
  CHECK(failures_of(cuda::is_real() ? 1 : 25, [] { after_a_step("zero_dce"); }) >= 50);
  CHECK(same_bits(enhance(*model, picture), expected));
}
