#include "luxgrad/training/step_memory.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/training/setup.h"

namespace lux {
namespace {

// The small steps: each has twice the side of the one before. Small networks need another, or two where the
// step at hand is no smaller, for their workspaces are large beside what is alive until they stop to grow,
// and can afford it.
constexpr int64_t kFewPixels = 32, kFewParameters = 1'000'000;

// What is alive after each operator, forward or backward, and what it needed besides while it ran.
class Marks final : public Observer {
 public:
  explicit Marks(int64_t before) : before_(before) { memory::reset_peak(); }
  void on_forward(const char*, const Tensor&, const Tensors&) override { note(); }
  void on_backward(const char*, const Grads&) override { note(); }
  void note() {
    const memory::Stats stats = memory::stats();
    alive.push_back(stats.live - before_);
    besides.push_back(stats.peak - stats.live);
    memory::reset_peak();
  }

  std::vector<int64_t> alive, besides;

 private:
  int64_t before_;
};

constexpr int64_t kMostWorkspace = int64_t{32} << 20;  // as kernels/cpu/winograd.cpp has it

struct StepBytes {
  BytesAt alive, besides;
};

// The second of two steps, the first of which makes what lasts. On one thread: how many workspaces several
// have at a time is chance.
StepBytes small_step(const TrainOptions& options, int64_t side, DType dtype) {
  StepBytes result;
  run_chunks(1, [&](int64_t) {
    const int64_t before = memory::stats().live;
    const std::unique_ptr<Model> model = make_trainee(options);
    Stepper stepper(options.recipe, *model);
    Tensor low = empty({1, side, side, 3});
    Generator generator(1, "step memory");
    fill_uniform_(low, 0.05, 0.3, generator);
    StepInput input{.low = low, .dtype = dtype};
    if (options.recipe.objective->needs_references()) input.high = low.clone();
    (void)stepper.step(input, options.recipe.adam.lr);
    Marks marks(before);
    (void)stepper.step(input, options.recipe.adam.lr);
    marks.note();
    result = {{side * side, std::move(marks.alive)}, {side * side, std::move(marks.besides)}};
  });
  return result;
}

int64_t bytes_of(const Tensor& tensor) { return tensor.defined() ? tensor.storage()->bytes() : 0; }

}  // namespace

Stage largest_step(const Recipe& recipe) {
  const auto pixels = [](const Stage& stage) { return stage.batch * stage.size * stage.size; };
  if (recipe.stages.empty()) return {1, recipe.batch, recipe.size};
  return *std::max_element(recipe.stages.begin(), recipe.stages.end(),
                           [&](const Stage& a, const Stage& b) { return pixels(a) < pixels(b); });
}

int64_t predicted_step_memory(const TrainOptions& where, int64_t pixels) {
  TrainOptions options = where;
  options.device = kCpu;  // a device may be full, and what it has is counted elsewhere
  const DType dtype = stored_as(DType::f32, where.device);
  const std::unique_ptr<Model> model = make_trainee(options);
  const int64_t multiple = std::lcm(model->traits().size_multiple, kSmallSide);
  const int64_t least = std::max(kFewPixels, options.recipe.objective->smallest_size());
  const int64_t side = (least + multiple - 1) / multiple * multiple;
  std::vector<StepBytes> steps = {small_step(options, side, dtype), small_step(options, 2 * side, dtype)};
  for (int64_t more = 4 * side; more <= 8 * side && model->parameter_count() <= kFewParameters; more *= 2) {
    if (more > 4 * side && more * more > pixels) break;
    steps.push_back(small_step(options, more, dtype));
  }

  size_t next = 1;
  while (next + 1 < steps.size() && steps[next].alive.pixels < pixels) ++next;
  const StepBytes &small = steps[next - 1], &large = steps[next];
  const std::vector<int64_t> alive = bytes_at(pixels, small.alive, large.alive),
                             besides = bytes_at(pixels, small.besides, large.besides);
  int64_t most = 0;
  for (size_t i = 0; i < alive.size(); ++i) {
    const int64_t limit = std::max(kMostWorkspace, large.besides.bytes[i]);
    most = std::max(most, alive[i] + std::clamp<int64_t>(besides[i], 0, limit));
  }
  return most;
}

StepCost measured_step(const TrainOptions& options, const StepInput& pictures) {
  const bool on_device = options.device != kCpu;
  const auto stats = [&] { return on_device ? cuda::memory_stats() : memory::stats(); };
  // A device holds them while they are used only.
  const int64_t own = on_device ? 0 : bytes_of(pictures.low) + bytes_of(pictures.high);
  const int64_t before = stats().live - own;
  const std::unique_ptr<Model> model = make_trainee(options);
  Stepper stepper(options.recipe, *model);
  (void)stepper.step(pictures, options.recipe.adam.lr);
  on_device ? cuda::reset_memory_peak() : memory::reset_peak();
  const auto start = std::chrono::steady_clock::now();
  (void)stepper.step(pictures, options.recipe.adam.lr);
  if (on_device) cuda::synchronize();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {seconds.count(), stats().peak - before};
}

}  // namespace lux
