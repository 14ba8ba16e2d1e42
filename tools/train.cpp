// luxgrad train: a folder of pictures and a recipe become weights in a run folder.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>

#include "luxgrad/data/layout.h"
#include "luxgrad/tools/autotune.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/config_file.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/number_option.h"
#include "luxgrad/tools/precision_choice.h"
#include "luxgrad/tools/recipe_choice.h"
#include "luxgrad/tools/stop.h"
#include "luxgrad/tools/words.h"
#include "luxgrad/training/plan.h"
#include "luxgrad/training/setup.h"
#include "luxgrad/training/step_memory.h"

namespace lux {
namespace {

/// Tells the console what happens.
class Console final : public TrainListener {
 public:
  explicit Console(ProgressStyle style) : progress_(style) {}

  void on_dataset(const std::string& found) override { print_note(printable(found)); }

  void on_start(const Facts& config, int64_t done, int64_t steps) override {
    stop_on_signals();  // until here nothing is lost by leaving at once
    for (const auto& [key, value] : config) print_note(printable(cat(key, " = ", value)));
    if (done > 0) print_note(cat("resumed after step ", done));
    steps_ = steps;
  }

  void on_step(const StepRecord& record) override {
    const double loss = record.losses.empty() ? 0 : record.losses.front().second;
    const std::string text = cat("epoch ", record.epoch, ", loss ", fixed(loss, 4), ", ",
                                 fixed(record.step_seconds + record.data_seconds, 2), " s");
    progress_.show(record.step, steps_, text);
  }

  void on_notice(const std::string& text) override { print_note(printable(text)); }

 private:
  ProgressLine progress_;
  int64_t steps_ = 0;
};

class Train final : public Command {
 public:
  explicit Train(CLI::App& app) {
    app.add_option("model", choice_.name, "Name of the model")
        ->type_name("MODEL")
        ->check(offers(model_names()));
    app.add_option("--data", options_.data,
                   "Folder of photos, a dataset of pairs (low and high, LOL, SICE), or a pack")
        ->type_name("PATH");
    app.add_option("--run", options_.run, "Run folder: configuration, logs, checkpoints, samples")
        ->type_name("DIR");
    app.add_option("-m,--weights", choice_.weights,
                   "Weights to begin with, of the same network (default: new ones, as the recipe says)")
        ->type_name("FILE");
    app.add_option("--steps", options_.steps, "Updates in all, instead of epochs")
        ->type_name("N")
        ->check(CLI::Range(1, 1 << 30).description(""));
    add_recipe_options(app, recipe_);
    app.add_option("--list", options_.names, "Only the pictures that a text file names, one name per line")
        ->type_name("FILE");
    app.add_option(
           "--validation", validation_,
           "Pictures that choose the best weights and do not train: a share or number of them, chosen "
           "by their names, or a text file of names")
        ->type_name("N|FILE");
    app.add_option("--seed", options_.seed, "Of everything random (default 0)")
        ->type_name("S")
        ->check(whole_number());
    app.add_option("--skip-bad", options_.skip_bad,
                   "Train without bad pictures where they are at most PERCENT of all (default 0)")
        ->type_name("PERCENT")
        ->check(finite_number(0, 100));
    app.add_flag("--dry-run", dry_run_,
                 "Print the configuration, the parameters, time and memory; write nothing");
    add_config_option(app);
    app.add_flag("--recompute", options_.recompute,
                 "Compute activations of the network's blocks again instead of keeping them: less memory, "
                 "more time, the same bits");
    app.add_flag("--resume", options_.resume, "Continue the run in the run folder");
    add_network_options(app, choice_);
    add_device_options(app, where_);
    add_precision_option(app, where_.precision, " (which also keeps what gradients need in half the memory)");
    add_autotune_option(app, where_);
    app.add_option("--progress", progress_, "none, bar or json, on standard error (default bar)")
        ->type_name("KIND")
        ->check(one_of({"none", "bar", "json"}));
  }

  ExitCode run() override {
    check_usage(!choice_.name.empty(), "name the model: luxgrad train MODEL --data DIR --run DIR");
    check_model_name(choice_.name);
    check_usage(!options_.data.empty(), "name the pictures with --data");
    check_usage(dry_run_ || !options_.run.empty(), "name the run folder with --run");
    check_usage(recipe_.epochs == 0 || options_.steps == 0, "--epochs and --steps exclude each other");
    options_.device = apply(where_);
    const Autotuning autotuning(where_);
    try {
      return work();
    } catch (const FileException&) {
      throw;
    } catch (const UnfitOption& error) {
      throw CommandError(ExitCode::usage, cat("--", error.what()));
    } catch (...) {
      const Failure failure = failure_of(std::current_exception());
      if (failure.code != ExitCode::exhausted) throw;
      throw CommandError(ExitCode::exhausted, cat(failure.message, "; ", need()));
    }
  }

 private:
  ExitCode work() {
    prepare();
    options_.stop = &stop_requested;
    Console console(progress_style(progress_));
    if (dry_run_) {
      print_plan(plan(options_, console));
      return ExitCode::ok;
    }
    const TrainResult result = trained(console);
    if (!result.checkpoint.empty()) print_result(result.checkpoint);
    if (result.finished) return ExitCode::ok;
    print_note(cat("stopped after step ", result.progress.step, "; the same command with --resume goes on"));
    return static_cast<ExitCode>(128 + last_signal());
  }

  void prepare() {
    read_validation();
    options_.model = choice_.name;
    options_.model_config = config_of(choice_);
    options_.recipe = recipe_of(recipe_, choice_.name, options_.model_config, has_references(options_.data));
    options_.model_config.insert(options_.recipe.model.begin(), options_.recipe.model.end());
    if (!choice_.weights.empty()) options_.first_weights = first_weights();
    check_usage(!options_.recompute || make_model(choice_.name, options_.model_config)->traits().blocks,
                "--recompute: ", choice_.name, " has no blocks worth it");
    // On the values that a run begins with, also where it goes on: so a resumed one computes as before.
    if (rounds_more(options_.device)) (void)try_precision(*make_trainee(options_));
  }

  // Read into the very network that is trained, whatever the file says of its own.
  State first_weights() const {
    ModelChoice trainee = choice_;
    for (const auto& [key, value] : make_model(choice_.name, options_.model_config)->config())
      trainee.options.push_back(cat(key, "=", value));
    return load_model(trainee).model->state_dict();
  }

  // What reads as a number is one.
  void read_validation() {
    const char* const end = validation_.data() + validation_.size();
    const auto [rest, error] = std::from_chars(validation_.data(), end, options_.validation);
    const bool number = error != std::errc::invalid_argument && rest == end;
    if (!number) {
      options_.validation = 0;
      options_.validation_names = validation_;
    }
    check_usage(
        !number || (error == std::errc() && std::isfinite(options_.validation) && options_.validation >= 0),
        "--validation: expected a share, a number or a file, got ", validation_);
  }

  static void print_plan(const TrainPlan& plan) {
    for (const auto& [key, value] : plan.config) print_result(printable(cat(key, " = ", value)));
    print_result("");
    for (const auto& [name, shape] : plan.parameters) print_result(cat(name, " ", shape));
    const double minutes = plan.seconds_per_step * static_cast<double>(plan.steps) / 60;
    print_result(cat("\n", plan.parameter_count, " parameters, ", plan.steps, " steps of ",
                     fixed(plan.seconds_per_step * 1e3, 0), " ms: ", fixed(minutes, 1),
                     " minutes; tensors of ", megabytes(plan.peak_bytes), ", predicted ",
                     megabytes(plan.predicted_bytes), "; besides, at most ", megabytes(plan.loader_bytes),
                     " of pictures in the loader"));
  }

  // What a step takes, as far as there is memory to find out.
  std::string need() const {
    const Stage step = largest_step(options_.recipe);
    try {
      const auto model = make_model(options_.model, options_.model_config);
      std::string weights = cat(choice_.name, " needs ", megabytes(16 * model->parameter_count()),
                                " for weights, gradients and moments alone");
      if (step.size == 0) return weights;
      try {
        const int64_t bytes = predicted_step_memory(options_, step.batch * step.size * step.size);
        return cat(choice_.name, " needs about ", megabytes(bytes), " for a step on ", step.batch,
                   " pictures of ", step.size, " x ", step.size,
                   " pixels; --batch, --size, --threads and --recompute change that");
      } catch (const std::bad_alloc&) {
        return weights;
      }
    } catch (const std::bad_alloc&) {
      return cat(choice_.name, " needs more for its weights alone");
    }
  }

  TrainResult trained(TrainListener& listener) const {
    try {
      return train(options_, listener);
    } catch (const NumericalStop& error) {
      throw CommandError(ExitCode::stopped, error.what());
    } catch (const FileException&) {
      throw;
    } catch (const UnfitOption&) {
      throw;
    } catch (const StateMismatch& error) {
      throw misfit(error.what());
    } catch (const Error& error) {  // another run's folder, or another configuration
      throw CommandError(ExitCode::mismatch, error.what());
    }
  }

  ModelChoice choice_;
  TrainOptions options_;
  RecipeChoice recipe_;
  bool dry_run_ = false;
  RunsOn where_;
  std::string validation_;
  std::string progress_ = "bar";
};

}  // namespace

std::unique_ptr<Command> make_train(CLI::App& app) { return std::make_unique<Train>(app); }

}  // namespace lux
