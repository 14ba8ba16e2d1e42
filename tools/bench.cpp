// luxgrad bench: the time and the memory of an inference and of a training step on this machine; on request
// also what each operator takes, and which share of the machine's roofs it reaches. A device is timed by
// events in its own stream, with pictures that are there already.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "luxgrad/kernels/bytes.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_copies.h"
#include "luxgrad/tensor/memory.h"
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
#include "luxgrad/tools/stages.h"
#include "luxgrad/tools/words.h"
#include "luxgrad/training/step_numbers.h"
#include "luxgrad/training/stepper.h"

namespace lux {
namespace {

constexpr int64_t kLargest = 256;  // side of the pictures of a training step
constexpr size_t kInTurn = 8;      // photos that follow one another

/// Milliseconds by the clock, a device's own where there is one, and of all threads of this process together.
struct Milliseconds {
  double wall = 0, cpu = 0;
};

double per_second(int64_t pictures, const Milliseconds& time) {
  return 1e3 * static_cast<double>(pictures) / time.wall;
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size()) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <class F>
double wall_ms(Device device, F&& work) {
  if (device != kCpu) {
    cuda::synchronize();
    const cuda::Event start;
    work();
    return cuda::Event().milliseconds_since(start);
  }
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

/// Medians of `repeats` runs, after one that does not count.
template <class F>
Milliseconds median_ms(int repeats, Device device, F&& work) {
  work();
  std::vector<double> wall, cpu;
  for (int run = 0; run < repeats; ++run) {
    const std::clock_t busy = std::clock();
    wall.push_back(wall_ms(device, work));
    cpu.push_back(1e3 * static_cast<double>(std::clock() - busy) / CLOCKS_PER_SEC);
  }
  return {median(wall), median(cpu)};
}

/// Bytes of photos, or what the network reads; in host memory or on its device.
Tensor pictures_for(const Model& model, int64_t batch, int64_t height, int64_t width, bool photo) {
  const Tensor noise = noise_picture(batch, height, width);
  if (photo) return to_bytes(noise);
  return model.device() == kCpu ? noise : noise.to(model.dtype()).to(model.device());
}

/// One after the other of one size, as folders and films have them: they share the plan and the forms of the
/// weights.
class SameSize {
 public:
  SameSize(const Model& model, const Tensor& pictures)
      : model_(model), enhance_(model, pictures.size(1), pictures.size(2), {}, model.dtype()) {}

  void operator()(const Tensor& pictures) const {
    if (pictures.dtype() == DType::u8)
      (void)to_bytes(enhance_(from_bytes(pictures, model_.dtype())));
    else
      (void)enhance_(pictures);
  }

 private:
  const KeepDerivedWeights keep_{KeepDerivedWeights::kEverySize};
  const Model& model_;
  Enhancer enhance_;
};

/// One photo, or several at once, on the way that `luxgrad enhance` has for whole photos on a device
/// (PictureWork): bytes travel beside the kernels, between pinned memory and the device, which makes numbers
/// and bytes of them.
class TravellingPhoto {
 public:
  void upload(const Tensor& bytes) {
    up_ = std::make_unique<cuda::Upload>(bytes.raw(), bytes.shape(), DType::u8);
  }

  void enhance(const Model& model) {
    const KeepDerivedWeights keep(KeepDerivedWeights::kEverySize);
    const Tensor bright = lux::enhance(model, from_samples(up_->arrived(), kColors, model.dtype()));
    const Tensor mark = gathered({zeros({}, {DType::f32, bright.device()})});
    mark_not_finite_(mark, 0, {bright});
    mark_ = std::make_unique<cuda::Download>(mark);
    down_ = std::make_unique<cuda::Download>(to_samples(bright, 8));
    up_.reset();
    if (rounds_more(model.device())) (void)mark_->arrived();  // where f32 may have to do it again
  }

  void download(const Tensor& bytes) {
    (void)mark_->arrived();
    std::memcpy(bytes.raw(), down_->arrived(), static_cast<size_t>(bytes.numel()));
    mark_.reset();
    down_.reset();
  }

 private:
  static constexpr int kColors = 3;
  std::unique_ptr<cuda::Upload> up_;
  std::unique_ptr<cuda::Download> mark_, down_;
};

/// A photo alone: nothing of it overlaps.
void enhance_photo(const Model& model, const Tensor& photo, const Tensor& result) {
  TravellingPhoto one;
  one.upload(photo);
  one.enhance(model);
  one.download(result);
}

/// Photos of a folder: while one is enhanced, the next go up and the last come down.
void enhance_in_turn(const Model& model, const Tensor& photo, const Tensor& result) {
  std::vector<TravellingPhoto> photos(kInTurn);
  run_stages(kInTurn, 1, 1, 1,
             {.load = [&](size_t i) { photos[i].upload(photo); },
              .begin = [](size_t) {},
              .work = [&](size_t i) { photos[i].enhance(model); },
              .save = [&](size_t i) { photos[i].download(result); },
              .report = [](size_t) {},
              .stop = [] {}});
}

std::string right(const std::string& text, size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

struct TrainingStep {
  int64_t batch, size;
  Milliseconds time;
};

/// Of the model's published recipe; `batch` and `size` win over its own where they are not 0. `again` gets
/// one more step to look at.
TrainingStep time_training_step(Model& model, int64_t batch, int64_t size, int repeats,
                                FunctionRef<void(FunctionRef<void()>)> again) {
  const Recipe recipe = make_recipe(model.name(), recipe_names(model.name()).front());
  if (batch == 0) batch = recipe.batch;
  if (size == 0) size = recipe.size == 0 ? kLargest : std::min(recipe.size, kLargest);
  const int64_t multiple = model.traits().size_multiple, smallest = recipe.objective->smallest_size();
  check_usage(size % multiple == 0 && size >= smallest, "--crop: expected a multiple of ", multiple,
              " of at least ", smallest, " for ", model.name(), ", got ", size);
  const auto pictures = [&] { return noise_picture(batch, size, size).to(model.device()); };
  const StepInput input{pictures(), pictures()};
  model.requires_grad_();
  Stepper stepper(recipe, model);
  const auto step = [&] { (void)stepper.step(input, recipe.adam.lr); };
  const TrainingStep result{batch, size, median_ms(repeats, model.device(), step)};
  again(step);
  return result;
}

class Bench final : public Command {
 public:
  explicit Bench(CLI::App& app) {
    app.add_option("-n,--model", names_, "Models to time (default: all)")
        ->type_name("NAME")
        ->check(offers(model_names()))
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
        ->check(one_of({"inference", "step"}));
    app.add_flag("--photo", photo_, "Enhance bytes in host memory into bytes in host memory");
    app.add_flag(
        "--operators", operators_,
        "What each operator of the inference takes against the roofs, and each tuned kernel of a CUDA "
        "device against the time that its memory needs");
    app.add_flag("--json", json_, "Print one JSON object per model");
  }

  ExitCode run() override {
    for (const std::string& name : names_) check_model_name(name);
    const auto [width, height] = size_from(size_);
    device_ = apply(where_);
    const Autotuning autotuning(where_);
    if (names_.empty()) names_ = model_names();
    if (operators_ && device_ == kCpu) {
      roofs_ = measure_roofs();
      print_note(cat("roofs of ", num_threads(), " threads: ", roofs_.text()));
    } else if (operators_) {
      roofs_ = measure_device_roofs(device_, stored_as(DType::f32, device_));
      print_note(cat("roofs of cuda:0: products in ", precision(), " ", fixed(roofs_.gflops, 0),
                     " GFLOP/s; memory moves ", fixed(roofs_.levels[0].gigabytes_per_second, 0), " GB/s"));
    }
    for (const std::string& name : names_) measure(name, width, height);
    return ExitCode::ok;
  }

 private:
  static void add_number(CLI::App& app, const char* name, int64_t& value, const char* text) {
    app.add_option(name, value, text)->type_name("N")->check(CLI::Range(1, 1 << 14).description(""));
  }

  void measure(const std::string& name, int64_t width, int64_t height) const {
    const PrecisionScope own(precision());  // of this network, for which bf16 may be too coarse
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{1});
    model->to(device_);
    (void)try_precision(*model);
    nlohmann::ordered_json report = {{"model", name},
                                     {"threads", num_threads()},
                                     {"instruction_set", instruction_set()},
                                     {"precision", name_of(precision())}};
    if (device_ != kCpu) report["device"] = "cuda:0";
    if (!json_)
      print_result(cat(name, ", ", num_threads(), " threads, ", instruction_set(),
                       device_ == kCpu ? "" : ", cuda:0", ", ", precision()));
    if (only_ != "step") measure_inference(*model, width, height, report);
    model->to(DType::f32);  // as training has it
    if (only_ != "inference") measure_step(*model, report);
    if (json_) print_result(report.dump());
  }

  void measure_inference(const Model& model, int64_t width, int64_t height,
                         nlohmann::ordered_json& report) const {
    const int64_t batch = std::max<int64_t>(1, batch_);
    const int64_t optimum = Liveness(model).optimum(height, width, batch);
    const int64_t peak = measure_peak(model, height, width, {}, batch);
    const Tensor pictures = pictures_for(model, batch, height, width, photo_);
    memory::set_slack(25);  // so that a run finds the blocks of the one before in the cache
    const Milliseconds forward = time_inference(model, pictures, report);
    memory::set_slack(memory::kSlack);
    report["batch"] = batch;
    report["width"] = width;
    report["height"] = height;
    report["forward_ms"] = forward.wall;
    report["forward_cpu_ms"] = forward.cpu;
    report["images_per_second"] = per_second(batch, forward);
    report["memory_peak_bytes"] = peak;
    report["memory_optimum_bytes"] = optimum;
    if (!json_) {
      const std::string many = batch > 1 ? cat(batch, " of ") : "";
      print_result(cat("  inference ", many, width, "x", height, photo_ ? ", bytes" : "", "      ",
                       time_of(forward, batch)));
      if (report.contains("in_turn_ms"))
        print_result(cat("  photos in turn        ", fixed(report["in_turn_ms"].get<double>(), 3),
                         " ms for each of ", kInTurn, ", with copies beside the kernels"));
      print_result(cat("  memory of inference   ", megabytes(peak), ", ",
                       fixed(static_cast<double>(peak) / static_cast<double>(optimum), 3), " of the optimum ",
                       megabytes(optimum)));
    }
    if (operators_) {
      const Tensor one = pictures_for(model, batch, height, width, false);
      list_operators(model, one, report);
      list_kernels([&] { enhance(model, one); }, "forward_kernels", report);
    }
  }

  /// From host to host the host's clock counts, and of photos in turn their mean.
  Milliseconds time_inference(const Model& model, const Tensor& pictures,
                              nlohmann::ordered_json& report) const {
    if (device_ == kCpu || !photo_) {
      const SameSize enhance_pictures(model, pictures);
      return median_ms(repeats_, device_, [&] { enhance_pictures(pictures); });
    }
    const Tensor result = empty(pictures.shape(), {DType::u8, kCpu});
    const Milliseconds alone = median_ms(repeats_, kCpu, [&] { enhance_photo(model, pictures, result); });
    report["in_turn_ms"] =
        median_ms(repeats_, kCpu, [&] { enhance_in_turn(model, pictures, result); }).wall / kInTurn;
    return alone;
  }

  std::string time_of(const Milliseconds& time, int64_t batch) const {
    return cat(fixed(time.wall, device_ == kCpu ? 1 : 3), " ms, ", fixed(per_second(batch, time), 1),
               " pictures per second");
  }

  void measure_step(Model& model, nlohmann::ordered_json& report) const {
    if (device_ != kCpu) cuda::reset_memory_peak();
    const TrainingStep step =
        time_training_step(model, batch_, crop_, repeats_, [&](FunctionRef<void()> again) {
          if (operators_) list_kernels(again, "training_kernels", report);
        });
    const int64_t peak = cuda::memory_stats().peak;
    if (device_ != kCpu) report["training_memory_peak_bytes"] = peak;
    report["training_step_ms"] = step.time.wall;
    report["training_step_cpu_ms"] = step.time.cpu;
    report["training_batch"] = step.batch;
    report["training_size"] = step.size;
    report["training_images_per_second"] = per_second(step.batch, step.time);
    if (json_) return;
    print_result(cat("  training step ", step.batch, "x", step.size, "²   ", time_of(step.time, step.batch)));
    if (device_ != kCpu) print_result(cat("  memory of training    ", megabytes(peak)));
  }

  /// Of one run as a whole, so that each operator is called on whole pictures.
  void list_operators(const Model& model, const Tensor& picture, nlohmann::ordered_json& report) const {
    const EnhanceOptions whole{.order = EnhanceOptions::whole};
    enhance(model, picture, whole);
    OperatorTimes times(device_);
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
      print_result(cat(right(cat(row.calls), 7), right(fixed(1e3 * row.seconds, 2), 10),
                       right(fixed(1e-9 * row.flops / row.seconds, 1), 9),
                       right(fixed(1e-9 * row.bytes / row.seconds, 1), 9),
                       right(cat(fixed(100 * share, 0), " %"), 9), "  ", row.name));
    }
    report["operators"] = list;
    report["roof_gflops"] = roofs_.gflops;
    report["roof_bf16_gflops"] = roofs_.bf16_gflops;
  }

  /// What the tuned kernels of a device take in a run of `work`, against the time in which its memory moves
  /// what they must.
  void list_kernels(FunctionRef<void()> work, const char* key, nlohmann::ordered_json& report) const {
    if (device_ == kCpu) return;
    cuda::FloorMeter meter(cuda::FloorMeter::taken);
    work();
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    const std::map<std::string, cuda::Moved> all = meter.moved();
    if (!json_ && !all.empty()) print_result("  calls        ms     GB/s  of floor  tuned kernel");
    for (const auto& [slot, moved] : all) {
      const auto bytes = static_cast<double>(moved.bytes);
      const double share = 1e3 * roofs_.seconds(0, bytes) / moved.milliseconds;
      list.push_back({{"kernel", slot},
                      {"calls", moved.calls},
                      {"ms", moved.milliseconds},
                      {"bytes", moved.bytes},
                      {"share_of_floor", share}});
      if (json_) continue;
      print_result(cat(right(cat(moved.calls), 7), right(fixed(moved.milliseconds, 3), 10),
                       right(fixed(1e-6 * bytes / moved.milliseconds, 1), 9),
                       right(cat(fixed(100 * share, 0), " %"), 10), "  ", slot));
    }
    report[key] = list;
  }

  std::vector<std::string> names_;
  std::string size_ = cat(kStatedWidth, "x", kStatedHeight);
  int64_t batch_ = 0, crop_ = 0;
  int repeats_ = 5;
  RunsOn where_;
  Device device_;
  std::string only_;
  bool json_ = false, operators_ = false, photo_ = false;
  Roofs roofs_;
};

}  // namespace

std::unique_ptr<Command> make_bench(CLI::App& app) { return std::make_unique<Bench>(app); }

}  // namespace lux
