#include "luxgrad/training/trainer.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/training/manifest.h"
#include "luxgrad/training/non_finite.h"
#include "luxgrad/training/schedule.h"
#include "luxgrad/training/setup.h"

namespace lux {
namespace {

constexpr int64_t kMaxSkipped = 3;
constexpr int64_t kCheckpointSteps = 500;  // besides the end of every epoch

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class Trainer {
 public:
  Trainer(const TrainOptions& options, TrainListener& listener);
  TrainResult run();

 private:
  void restore();
  void update(const Batch& batch, double data_seconds);
  void skip(const Batch& batch, const std::string& ruined);
  void finish_epoch();
  void save();

  const TrainOptions& options_;
  const Recipe& recipe_;
  TrainListener& listener_;
  DatasetScan data_;
  Loader loader_;
  int64_t steps_;
  Schedule schedule_;
  std::unique_ptr<CurveModel> model_;
  Adam adam_;
  RunFolder folder_;
  Facts config_;
  Progress progress_;
  TrainResult result_;
  bool log_failed_ = false;
};

Trainer::Trainer(const TrainOptions& options, TrainListener& listener)
    : options_(options),
      recipe_(options.recipe),
      listener_(listener),
      data_(checked_pictures(options, listener)),
      loader_(data_.pictures, loader_options(options)),
      steps_(options.steps > 0 ? options.steps : recipe_.epochs * loader_.batches_per_epoch()),
      schedule_(recipe_.lr_end > 0 ? cosine(recipe_.adam.lr, recipe_.lr_end, static_cast<double>(steps_))
                                   : constant(recipe_.adam.lr)),
      model_(make_trainee(options)),
      adam_(model_->named_parameters(), recipe_.adam),
      folder_(options.run),
      config_(configuration(options, *model_, data_, steps_)) {}

TrainResult Trainer::run() {
  options_.resume ? restore() : folder_.rewind_logs({});
  folder_.write_config(config_);
  folder_.write_manifest(manifest_of(data_.files));
  save();  // a disk that takes no checkpoint is better known now than after hours
  if (const int64_t room = folder_.room_for(result_.checkpoint); room >= 0 && room < RunFolder::kKept + 1) {
    listener_.on_notice(cat(folder_.path(), ": the disk has room for ", room, " more checkpoints only"));
  }
  listener_.on_start(config_, progress_.step, steps_);
  bool stopped = false;
  while (progress_.step < steps_ && !stopped) {
    const Stopwatch waiting;
    const Batch batch = loader_.next();
    update(batch, waiting.seconds());
    if (++progress_.batch == loader_.batches_per_epoch()) finish_epoch();
    stopped = options_.stop != nullptr && options_.stop->load();
    if (progress_.batch == 0 || progress_.step % kCheckpointSteps == 0 || progress_.step == steps_ || stopped)
      save();
  }
  (void)folder_.write_report(config_);
  result_.progress = progress_;
  result_.finished = progress_.step >= steps_;
  return result_;
}

void Trainer::restore() {
  std::vector<FileError> damaged;
  auto found = folder_.latest(damaged);
  for (const FileError& error : damaged) listener_.on_notice("passed over " + error.message());
  if (found) {
    const Checkpoint& checkpoint = found->checkpoint;
    check_same_pictures(checkpoint.config, folder_.manifest(), data_);
    check_same_run(checkpoint.config, config_);
    model_->load_state_dict(checkpoint.weights);
    adam_.load_state_dict(checkpoint.optimizer);
    progress_ = checkpoint.progress;
    result_.checkpoint = found->path;
    loader_.seek(progress_.epoch, progress_.batch);
  } else {
    if (!damaged.empty()) {
      throw FileException({damaged.front().code, folder_.path(), -1,
                           "none of its checkpoints can be read; without them training would begin anew"});
    }
    listener_.on_notice(cat(folder_.path(), " has no checkpoint yet: training begins anew"));
  }
  folder_.rewind_logs(progress_);
}

// One step of the algorithm: loss, gradients, clipping, Adam.
void Trainer::update(const Batch& batch, double data_seconds) {
  const Stopwatch working;
  adam_.zero_grad();
  adam_.set_lr(schedule_(static_cast<double>(progress_.step)));
  const Loss loss = loss_of(recipe_, *model_, batch.low, batch.high);
  backward(loss.total);
  constexpr double kNoLimit = std::numeric_limits<double>::infinity();
  const double norm =
      clip_grad_norm_(adam_.parameters(), recipe_.clip_norm > 0 ? recipe_.clip_norm : kNoLimit);

  const double total = loss.total.item();
  const bool finite = std::isfinite(total) && std::isfinite(norm);
  ++progress_.step;
  StepRecord record{.epoch = progress_.epoch + 1, .step = progress_.step, .lr = adam_.lr()};
  record.losses.emplace_back("total", total);
  for (const auto& [name, term] : loss.terms) record.losses.emplace_back(name, term.item());
  record.grad_norm = norm;
  record.skipped = !finite;
  if (finite) {
    adam_.step();
    progress_.skipped = 0;
    progress_.epoch_loss += total;
    ++progress_.epoch_steps;
  }
  record.data_seconds = data_seconds;
  record.step_seconds = working.seconds();
  if (!folder_.log(record) && !log_failed_) {
    listener_.on_notice(cat(folder_.path(), ": the log cannot be written; training goes on without it"));
    log_failed_ = true;
  }
  listener_.on_step(record);
  // Also after a finite step: an update can overflow, a ReLU hides a weight of minus infinity, and a weight
  // whose second moment is infinite would stand still unseen.
  const std::string ruined = ruined_state(*model_, adam_);
  if (!finite || !ruined.empty()) skip(batch, ruined);
}

// Says where the step went wrong, and stops where that cannot be left behind.
void Trainer::skip(const Batch& batch, const std::string& ruined) {
  const std::string where = first_not_finite(recipe_, *model_, batch);
  const std::string text =
      cat("step ", progress_.step, ": ", ruined.empty() ? "loss or gradient is not finite" : ruined,
          where.empty() ? ", though all is finite when the step runs again" : cat(", first in ", where));
  if (!ruined.empty()) throw NumericalStop(cat(text, "; no skipped step heals it"));
  if (++progress_.skipped > kMaxSkipped)
    throw NumericalStop(cat(text, "; ", kMaxSkipped, " steps before it, too"));
  listener_.on_notice(text + "; step skipped");
}

// The best weights so far, and a picture of what they do.
void Trainer::finish_epoch() {
  ++progress_.epoch;
  progress_.batch = 0;
  if (progress_.epoch_steps > 0) {
    const double mean = progress_.epoch_loss / static_cast<double>(progress_.epoch_steps);
    if (mean < progress_.best) {
      progress_.best = mean;
      folder_.save_best(model_->state_dict(), weight_facts(*model_, config_, progress_));
    }
  }
  progress_.epoch_loss = 0;
  progress_.epoch_steps = 0;
  const Batch sample = loader_.sample();
  Tensors pictures{sample.low, enhance(*model_, sample.low)};
  if (sample.high.defined()) pictures.push_back(sample.high);
  folder_.save_sample(progress_.epoch, pictures);
  (void)folder_.write_report(config_);  // a page that the disk refuses is not worth the run
}

void Trainer::save() {
  progress_.jsonl_bytes = folder_.jsonl_bytes();
  progress_.csv_bytes = folder_.csv_bytes();
  result_.checkpoint =
      folder_.save({to_metadata(*model_), model_->state_dict(), adam_.state_dict(), config_, progress_});
}

}  // namespace

void TrainListener::on_start(const Facts&, int64_t, int64_t) {}
void TrainListener::on_step(const StepRecord&) {}
void TrainListener::on_notice(const std::string&) {}

TrainResult train(const TrainOptions& options, TrainListener& listener) {
  // What needs no look at the pictures is refused before that long look.
  const bool used = RunFolder::used(options.run);
  check(options.resume || !used, "train: ", options.run,
        " holds a run; continue it with --resume, or choose another folder");
  check(!options.resume || used, "train: ", options.run, " holds no run to resume");
  if (used) (void)RunFolder(options.run);
  return Trainer(options, listener).run();
}

}  // namespace lux
