// luxgrad bench: the time of an inference and of a training step, and the memory of the inference, on this
// machine; on request also what each operator takes, and which share of the machine's roofs it reaches.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/autotune.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/operator_times.h"
#include "luxgrad/tools/precision_choice.h"
#include "luxgrad/tools/roofs.h"
#include "luxgrad/training/stepper.h"

namespace lux {
namespace {

constexpr int64_t kLargest = 256;  // side of the pictures of a training step

/// Milliseconds by the clock, and of all threads of this process together.
struct Milliseconds {
  double wall = 0, cpu = 0;
};

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size()) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Of `work`, until the device has done it: medians of `repeats` runs, after one that does not count.
template <class F>
Milliseconds median_ms(int repeats, Device device, F&& work) {
  const auto action = [&] {
    work();
    if (device != kCpu) cuda::synchronize();
  };
  action();
  std::vector<double> wall, cpu;
  for (int run = 0; run < repeats; ++run) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t busy = std::clock();
    action();
    cpu.push_back(1e3 * static_cast<double>(std::clock() - busy) / CLOCKS_PER_SEC);
    wall.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  return {median(wall), median(cpu)};
}

struct TrainingStep {
  int64_t batch, size;
  Milliseconds time;
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
  return {batch, size,
          median_ms(repeats, model.device(), [&] { (void)stepper.step(input, recipe.adam.lr); })};
}

class Bench final : public Command {
 public:
  explicit Bench(CLI::App& app) {
    app.add_option("-n,--model", names_, "Models to time (default: all)")
        ->type_name("NAME")
        ->allow_extra_args(false);
    app.add_option("--size", size_, "Of the picture that is enhanced (default 1200x900)")->type_name("WxH");
    add_number(app, "--batch", batch_, "Pictures at once (default: 1, and the recipe's in training)");
    add_number(app, "--crop", crop_, "Their side in pixels (default: the recipe's, at most 256)");
    app.add_option("--repeat", repeats_, "Runs per number; the median is printed (default 5)")
        ->type_name("N")
        ->check(CLI::Range(1, 1000).description(""));
    add_device_options(app, where_);
    add_precision_option(app, where_.precision);
    add_autotune_option(app, where_);
    app.add_option("--only", only_, "Time one of them: inference or step")
        ->type_name("WORK")
        ->check(CLI::IsMember({"inference", "step"}).description(""));
    app.add_flag("--operators", operators_, "What each operator of the inference takes, against the roofs");
    app.add_flag("--json", json_, "Print one JSON object per model");
  }

  ExitCode run() override {
    for (const std::string& name : names_) check_model_name(name);
    const auto [width, height] = size_from(size_);
    device_ = apply(where_);
    check_usage(device_ == kCpu || !operators_, "--operators: expected --device cpu, whose roofs are known");
    const Autotuning autotuning(where_);
    if (names_.empty()) names_ = model_names();
    if (operators_) {
      roofs_ = measure_roofs();
      print_note(cat("roofs of ", num_threads(), " threads: ", roofs_.text()));
    }
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
    nlohmann::ordered_json report = {{"model", name},
                                     {"threads", num_threads()},
                                     {"instruction_set", instruction_set()},
                                     {"precision", name_of(precision())}};
    if (device_ != kCpu) report["device"] = "cuda:0";
    if (!json_)
      print_result(cat(name, ", ", num_threads(), " threads, ", instruction_set(),
                       device_ == kCpu ? "" : ", cuda:0", ", ", precision()));
    const bool stored = device_ != kCpu && precision() == Precision::bf16;  // as bf16, which cannot train
    if (stored) model->to(DType::bf16);
    if (only_ != "step") measure_inference(*model, width, height, report);
    if (only_ != "inference" && !stored) measure_step(*model, report);
    if (json_) print_result(report.dump());
  }

  void measure_inference(const Model& model, int64_t width, int64_t height,
                         nlohmann::ordered_json& report) const {
    const int64_t optimum = Liveness(model).optimum(height, width);
    const int64_t peak = measure_peak(model, height, width);
    const Tensor picture = noise_picture(std::max<int64_t>(1, batch_), height, width);
    const Milliseconds forward = median_ms(repeats_, device_, [&] { enhance(model, picture); });
    report["batch"] = picture.size(0);
    report["width"] = width;
    report["height"] = height;
    report["forward_ms"] = forward.wall;
    report["forward_cpu_ms"] = forward.cpu;
    report["memory_peak_bytes"] = peak;
    report["memory_optimum_bytes"] = optimum;
    if (!json_) {
      const std::string many = picture.size(0) > 1 ? cat(picture.size(0), " of ") : "";
      print_result(cat("  inference ", many, width, "x", height, "      ", fixed(forward.wall, 1), " ms"));
      print_result(cat("  memory of inference   ", megabytes(peak), ", ",
                       fixed(static_cast<double>(peak) / static_cast<double>(optimum), 3), " of the optimum ",
                       megabytes(optimum)));
    }
    if (operators_) list_operators(model, picture, report);
  }

  void measure_step(Model& model, nlohmann::ordered_json& report) const {
    if (device_ != kCpu) cuda::reset_memory_peak();
    const TrainingStep step = time_training_step(model, batch_, crop_, repeats_);
    if (device_ != kCpu) report["training_memory_peak_bytes"] = cuda::memory_stats().peak;
    report["training_step_ms"] = step.time.wall;
    report["training_step_cpu_ms"] = step.time.cpu;
    report["training_batch"] = step.batch;
    report["training_size"] = step.size;
    if (!json_)
      print_result(
          cat("  training step ", step.batch, "x", step.size, "²   ", fixed(step.time.wall, 1), " ms"));
  }

  /// Of one run as a whole, so that each operator is called on whole pictures.
  void list_operators(const Model& model, const Tensor& picture, nlohmann::ordered_json& report) const {
    const EnhanceOptions whole{.order = EnhanceOptions::whole};
    enhance(model, picture, whole);
    OperatorTimes times;
    enhance(model, picture, whole);
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    if (!json_) print_result("  calls        ms  GFLOP/s     GB/s  of roof  operator");
    for (const OperatorTimes::Row& row : times.rows()) {
      const auto calls = static_cast<double>(row.calls);
      const double share = calls * roofs_.seconds(row.flops / calls, row.bytes / calls) / row.seconds;
      list.push_back({{"operator", row.name},
                      {"calls", row.calls},
                      {"ms", 1e3 * row.seconds},
                      {"flops", row.flops},
                      {"bytes", row.bytes},
                      {"share_of_roof", share}});
      if (json_) continue;
      const auto right = [](const std::string& text, size_t width) {
        return std::string(width - std::min(width, text.size()), ' ') + text;
      };
      print_result(cat(right(cat(row.calls), 7), right(fixed(1e3 * row.seconds, 2), 10),
                       right(fixed(1e-9 * row.flops / row.seconds, 1), 9),
                       right(fixed(1e-9 * row.bytes / row.seconds, 1), 9),
                       right(cat(fixed(100 * share, 0), " %"), 9), "  ", row.name));
    }
    report["operators"] = list;
    report["roof_gflops"] = roofs_.gflops;
    report["roof_bf16_gflops"] = roofs_.bf16_gflops;
  }

  std::vector<std::string> names_;
  std::string size_ = cat(kStatedWidth, "x", kStatedHeight);
  int64_t batch_ = 0, crop_ = 0;
  int repeats_ = 5;
  RunsOn where_;
  Device device_;
  std::string only_;
  bool json_ = false, operators_ = false;
  Roofs roofs_;
};

}  // namespace

std::unique_ptr<Command> make_bench(CLI::App& app) { return std::make_unique<Bench>(app); }

}  // namespace lux
