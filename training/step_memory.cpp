#include "luxgrad/training/step_memory.h"

#include <algorithm>
#include <numeric>

#include "luxgrad/autograd/observer.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/training/setup.h"
#include "luxgrad/training/stepper.h"

namespace lux {
namespace {

constexpr int64_t kFewPixels = 32;  // side of the small step: workspaces of a fixed size should not show

// The most bytes from each operator, forward or backward, to the next.
class HighWater final : public Observer {
 public:
  explicit HighWater(int64_t before) : before_(before) { memory::reset_peak(); }
  void on_forward(const char*, const Tensor&, const Tensors&) override { note(); }
  void on_backward(const char*, const Grads&) override { note(); }
  void note() {
    marks.push_back(memory::stats().peak - before_);
    memory::reset_peak();
  }

  std::vector<int64_t> marks;

 private:
  int64_t before_;
};

// The second of two steps, the first of which makes what lasts.
BytesAt step_on(const TrainOptions& options, const Shape& shape) {
  const int64_t before = memory::stats().live;
  const std::unique_ptr<Model> model = make_trainee(options);
  Stepper stepper(options.recipe, *model);
  Tensor low = empty(shape);
  Generator generator(1, "step memory");
  fill_uniform_(low, 0.05, 0.3, generator);
  StepInput input{low};
  if (options.recipe.objective->needs_references()) input.high = low.clone();
  (void)stepper.step(input, options.recipe.adam.lr);
  HighWater water(before);
  (void)stepper.step(input, options.recipe.adam.lr);
  water.note();
  return {shape[0] * shape[1] * shape[2], water.marks};
}

}  // namespace

Stage largest_step(const Recipe& recipe) {
  const auto pixels = [](const Stage& stage) { return stage.batch * stage.size * stage.size; };
  if (recipe.stages.empty()) return {1, recipe.batch, recipe.size};
  return *std::max_element(recipe.stages.begin(), recipe.stages.end(),
                           [&](const Stage& a, const Stage& b) { return pixels(a) < pixels(b); });
}

int64_t predicted_step_memory(const TrainOptions& options, int64_t pixels) {
  const int64_t multiple = std::lcm(make_trainee(options)->traits().size_multiple, kSmallSide);
  const int64_t least = std::max(kFewPixels, options.recipe.objective->smallest_size());
  const int64_t side = (least + multiple - 1) / multiple * multiple;
  return largest_at(pixels, step_on(options, {1, side, side, 3}), step_on(options, {1, 2 * side, side, 3}));
}

int64_t measured_step_memory(const TrainOptions& options, const Shape& pictures) {
  const BytesAt step = step_on(options, pictures);
  return *std::max_element(step.bytes.begin(), step.bytes.end());
}

}  // namespace lux
