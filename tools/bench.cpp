// luxgrad bench: the time of an inference and of a training step, and the memory of the inference, on this
// machine.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "luxgrad/models/enhance.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/training/stepper.h"

namespace lux {
namespace {

constexpr int64_t kLargest = 256;  // side of the pictures of a training step

/// Milliseconds of `action`: the median of `repeats` runs, after one that does not count.
template <class F>
double median_ms(int repeats, F&& action) {
  action();
  std::vector<double> times(static_cast<size_t>(repeats));
  for (double& time : times) {
    const auto start = std::chrono::steady_clock::now();
    action();
    time = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  const auto middle = times.begin() + repeats / 2;
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

struct TrainingStep {
  int64_t batch, size;
  double ms;
};

/// Of the model's published recipe; `batch` and `size` win over its own where they are not 0.
TrainingStep time_training_step(Model& model, int64_t batch, int64_t size, int repeats) {
  const Recipe recipe = make_recipe(model.name(), recipe_names(model.name()).front());
  if (batch == 0) batch = recipe.batch;
  if (size == 0) size = recipe.size == 0 ? kLargest : std::min(recipe.size, kLargest);
  const int64_t multiple = model.traits().size_multiple, smallest = recipe.objective->smallest_size();
  check_usage(size % multiple == 0 && size >= smallest, "--crop: expected a multiple of ", multiple,
              " of at least ", smallest, " for ", model.name(), ", got ", size);
  const StepInput input{noise_picture(batch, size, size), noise_picture(batch, size, size)};
  model.requires_grad_();
  Stepper stepper(recipe, model);
  return {batch, size, median_ms(repeats, [&] { (void)stepper.step(input, recipe.adam.lr); })};
}

class Bench final : public Command {
 public:
  explicit Bench(CLI::App& app) {
    app.add_option("-n,--model", names_, "Models to time (default: all)")
        ->type_name("NAME")
        ->allow_extra_args(false);
    app.add_option("--size", size_, "Of the picture that is enhanced (default 1200x900)")->type_name("WxH");
    add_number(app, "--batch", batch_, "Pictures of a training step (default: the recipe's)");
    add_number(app, "--crop", crop_, "Their side in pixels (default: the recipe's, at most 256)");
    app.add_option("--repeat", repeats_, "Runs per number; the median is printed (default 5)")
        ->type_name("N")
        ->check(CLI::Range(1, 1000).description(""));
    add_device_options(app, where_);
    app.add_flag("--json", json_, "Print one JSON object per model");
  }

  ExitCode run() override {
    for (const std::string& name : names_) check_model_name(name);
    const auto [width, height] = size_from(size_);
    device_ = apply(where_);
    if (names_.empty()) names_ = model_names();
    for (const std::string& name : names_) measure(name, width, height);
    return ExitCode::ok;
  }

 private:
  static void add_number(CLI::App& app, const char* name, int64_t& value, const char* text) {
    app.add_option(name, value, text)->type_name("N")->check(CLI::Range(1, 1 << 14).description(""));
  }

  void measure(const std::string& name, int64_t width, int64_t height) const {
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{1});
    model->to(device_);
    const int64_t optimum = liveness_optimum(*model, height, width);
    const int64_t peak = measure_peak(*model, height, width);
    const Tensor picture = noise_picture(1, height, width);
    const double forward = median_ms(repeats_, [&] { enhance(*model, picture); });
    nlohmann::ordered_json report = {{"model", name},
                                     {"threads", num_threads()},
                                     {"instruction_set", instruction_set()},
                                     {"width", width},
                                     {"height", height},
                                     {"forward_ms", forward},
                                     {"memory_peak_bytes", peak},
                                     {"memory_optimum_bytes", optimum}};
    const TrainingStep step = time_training_step(*model, batch_, crop_, repeats_);
    report["training_step_ms"] = step.ms;
    report["training_batch"] = step.batch;
    report["training_size"] = step.size;
    if (json_) {
      print_result(report.dump());
      return;
    }
    print_result(cat(name, ", ", num_threads(), " threads, ", instruction_set()));
    print_result(cat("  inference ", width, "x", height, "      ", fixed(forward, 1), " ms"));
    print_result(cat("  training step ", step.batch, "x", step.size, "²   ", fixed(step.ms, 1), " ms"));
    print_result(cat("  memory of inference   ", megabytes(peak), ", ",
                     fixed(static_cast<double>(peak) / static_cast<double>(optimum), 3), " of the optimum ",
                     megabytes(optimum)));
  }

  std::vector<std::string> names_;
  std::string size_ = cat(kStatedWidth, "x", kStatedHeight);
  int64_t batch_ = 0, crop_ = 0;
  int repeats_ = 5;
  RunsOn where_;
  Device device_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_bench(CLI::App& app) { return std::make_unique<Bench>(app); }

}  // namespace lux
