#include "luxgrad/training/plan.h"

#include <chrono>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/training/optimizer.h"
#include "luxgrad/training/setup.h"

namespace lux {

TrainPlan plan(const TrainOptions& options, TrainListener& listener) {
  const DatasetScan data = checked_pictures(options, listener);
  Loader loader(data.pictures, loader_options(options));
  const std::unique_ptr<CurveModel> model = make_trainee(options);
  Adam adam(model->named_parameters(), options.recipe.adam);
  TrainPlan result;
  result.steps = options.steps > 0 ? options.steps : options.recipe.epochs * loader.batches_per_epoch();
  result.config = configuration(options, *model, data, result.steps);
  result.parameter_count = model->parameter_count();
  for (const auto& [name, parameter] : model->named_parameters())
    result.parameters.emplace_back(name, parameter.shape());

  const Batch batch = loader.next();
  for (int step = 0; step < 2; ++step) {
    memory::reset_peak();
    const auto start = std::chrono::steady_clock::now();
    adam.zero_grad();
    backward(loss_of(options.recipe, *model, batch.low, batch.high).total);
    adam.step();
    result.seconds_per_step = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  result.peak_bytes = memory::stats().peak;
  return result;
}

}  // namespace lux
