#include "luxgrad/training/plan.h"

#include <chrono>

#include "luxgrad/tensor/memory.h"
#include "luxgrad/training/setup.h"
#include "luxgrad/training/step_memory.h"
#include "luxgrad/training/stepper.h"

namespace lux {

TrainPlan plan(const TrainOptions& options, TrainListener& listener) {
  const DatasetScan data = checked_pictures(options, listener);
  Loader loader(parts_of(options, data.pictures).first, loader_options(options));
  const std::unique_ptr<Model> model = make_trainee(options);
  Stepper stepper(options.recipe, *model);
  TrainPlan result;
  result.steps = steps_of(options, loader.batches_per_epoch());
  result.config = configuration(options, *model, data, result.steps);
  result.parameter_count = model->parameter_count();
  for (const auto& [name, parameter] : model->named_parameters())
    result.parameters.emplace_back(name, parameter.shape());

  const Batch batch = loader.next();
  for (int step = 0; step < 2; ++step) {
    memory::reset_peak();
    const auto start = std::chrono::steady_clock::now();
    (void)stepper.step({batch.low, batch.high}, options.recipe.adam.lr);
    result.seconds_per_step = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  result.peak_bytes = memory::stats().peak;
  const Shape& shape = batch.low.shape();
  result.predicted_bytes = predicted_step_memory(options, shape[0] * shape[1] * shape[2]);
  return result;
}

}  // namespace lux
