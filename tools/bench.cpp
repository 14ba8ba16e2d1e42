// luxgrad bench: the time of an inference and of a training step, and the memory of the inference, on this
// machine.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/losses/zero_dce.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/training/optimizer.h"

namespace lux {
namespace {

constexpr int64_t kBatch = 8, kSize = 256;  // of the training step

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

double training_step_ms(CurveModel& model, int repeats) {
  const Tensor batch = noise_picture(kBatch, kSize, kSize);
  model.requires_grad_();
  Adam adam(model.named_parameters(), {.lr = 1e-4, .weight_decay = 1e-4});
  return median_ms(repeats, [&] {
    const CurveEnhancement result = model.forward(batch);
    adam.zero_grad();
    backward(zero_dce_loss(batch, result.enhanced, result.curves).total);
    clip_grad_norm_(model.named_parameters(), 0.1);
    adam.step();
  });
}

class Bench final : public Command {
 public:
  explicit Bench(CLI::App& app) {
    app.add_option("-n,--model", names_, "Models to time (default: all)")
        ->type_name("NAME")
        ->allow_extra_args(false);
    app.add_option("--repeat", repeats_, "Runs per number; the median is printed (default 5)")
        ->type_name("N")
        ->check(CLI::Range(1, 1000).description(""));
    add_device_options(app, where_);
    app.add_flag("--json", json_, "Print one JSON object per model");
  }

  ExitCode run() override {
    for (const std::string& name : names_) check_model_name(name);
    apply(where_);
    if (names_.empty()) {
      for (const ModelInfo& info : models()) names_.push_back(info.name);
    }
    for (const std::string& name : names_) measure(name);
    return ExitCode::ok;
  }

 private:
  void measure(const std::string& name) const {
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{1});
    const int64_t optimum = liveness_optimum(*model, kStatedHeight, kStatedWidth);
    const int64_t peak = measure_peak(*model, kStatedHeight, kStatedWidth);
    const Tensor picture = noise_picture(1, kStatedHeight, kStatedWidth);
    const double forward = median_ms(repeats_, [&] { enhance(*model, picture); });
    nlohmann::ordered_json report = {
        {"model", name},         {"threads", num_threads()},  {"instruction_set", instruction_set()},
        {"forward_ms", forward}, {"memory_peak_bytes", peak}, {"memory_optimum_bytes", optimum}};
    double step = 0;
    if (auto* curves = dynamic_cast<CurveModel*>(model.get())) {
      step = training_step_ms(*curves, repeats_);
      report["training_step_ms"] = step;
    }
    if (json_) {
      print_result(report.dump());
      return;
    }
    print_result(cat(name, ", ", num_threads(), " threads, ", instruction_set()));
    print_result(cat("  inference ", kStatedWidth, "x", kStatedHeight, "      ", fixed(forward, 1), " ms"));
    if (step > 0) print_result(cat("  training step ", kBatch, "x", kSize, "²   ", fixed(step, 1), " ms"));
    print_result(cat("  memory of inference   ", megabytes(peak), ", ",
                     fixed(static_cast<double>(peak) / static_cast<double>(optimum), 3), " of the optimum ",
                     megabytes(optimum)));
  }

  std::vector<std::string> names_;
  int repeats_ = 5;
  RunsOn where_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_bench(CLI::App& app) { return std::make_unique<Bench>(app); }

}  // namespace lux
