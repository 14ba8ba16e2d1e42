#include "luxgrad/training/plan.h"

#include <algorithm>

#include "luxgrad/training/setup.h"
#include "luxgrad/training/step_memory.h"

namespace lux {
namespace {

int64_t bytes_of(const Tensor& tensor) { return tensor.defined() ? tensor.storage()->bytes() : 0; }

// Of both loaders, as if all pictures were as large as the largest.
int64_t bytes_of_loaders(const TrainOptions& options, const DatasetScan& data, size_t trained, size_t judged,
                         const Batch& batch) {
  const Recipe& recipe = options.recipe;
  int64_t pixels = recipe.size * recipe.size;
  if (recipe.size == 0 || recipe.squares || recipe.relight) {
    for (const ScannedFile& file : data.files) pixels = std::max(pixels, file.width * file.height);
  }
  const bool pairs = batch.high.defined() && !recipe.relight;
  const int64_t picture = (pairs ? 2 : 1) * pixels * 3 * static_cast<int64_t>(sizeof(float));
  const int64_t bytes = bytes_of(batch.low) + bytes_of(batch.high), one = bytes / batch.low.size(0);
  const auto held = [&](const LoaderOptions& loader, size_t pictures, int64_t taken) {
    return pictures == 0 ? 0 : loader_bytes(loader, static_cast<int64_t>(pictures) * picture, taken);
  };
  return held(loader_options(options), trained, bytes) + held(validation_options(options), judged, one);
}

}  // namespace

TrainPlan plan(const TrainOptions& options, TrainListener& listener) {
  const DatasetScan data = checked_pictures(options, listener);
  const auto [trained, judged] = parts_of(options, data.pictures);
  auto loader = std::make_unique<Loader>(trained, loader_options(options));
  TrainPlan result;
  result.steps = steps_of(options, loader->batches_per_epoch());
  const Batch batch = loader->next();
  loader.reset();  // it reads pictures meanwhile
  {
    const std::unique_ptr<Model> model = make_trainee(options);
    result.config = configuration(options, *model, data, result.steps);
    result.parameter_count = model->parameter_count();
    for (const auto& [name, parameter] : model->named_parameters())
      result.parameters.emplace_back(name, parameter.shape());
  }

  const StepCost cost = measured_step(options, {batch.low, batch.high});
  result.seconds_per_step = cost.seconds;
  result.peak_bytes = cost.bytes;
  const Shape& shape = batch.low.shape();
  result.predicted_bytes = predicted_step_memory(options, shape[0] * shape[1] * shape[2]);
  result.loader_bytes = bytes_of_loaders(options, data, trained.size(), judged.size(), batch);
  return result;
}

}  // namespace lux
