#include "luxgrad/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>

#include "luxgrad/data/file.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/training/manifest.h"
#include "luxgrad/training/metrics.h"
#include "luxgrad/training/non_finite.h"
#include "luxgrad/training/schedule.h"
#include "luxgrad/training/setup.h"
#include "luxgrad/training/stepper.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

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

// In the memory that files are written from.
State on_host(const State& state) {
  State there;
  for (const auto& [name, tensor] : state) there[name] = tensor.to(kCpu);
  return there;
}

void check_unused(const TrainOptions& options) {
  check(options.resume || !RunFolder::used(options.run), "train: ", options.run,
        " holds a run; continue it with --resume, or choose another folder");
}

// With its lock. Another process may have used it since it was looked at first.
RunFolder unused_folder(const TrainOptions& options) {
  RunFolder folder(options.run);
  check_unused(options);
  return folder;
}

class Trainer {
 public:
  Trainer(const TrainOptions& options, TrainListener& listener);
  TrainResult run();

 private:
  void restore();
  bool open_stage();
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  void update(const Batch& batch, double data_seconds);
  StepOutcome step(const StepInput& input, double lr);
  void keep_steps();
  void skip(const StepInput& input, const Batch& batch, int64_t failed, const std::string& ruined);
  void keep_evidence(const StepInput& input, const Batch& batch, const std::string& text);
  void finish_epoch();
  bool validate();
  std::optional<double> validation_psnr();
  double psnr_of(const Batch& batch) const;
  void judge(double criterion);
  void save_best();
  Batch next_batch();
  void show_sample(int64_t epoch);
  /// Whether the epoch at work has all its steps: its batches are done, or its stage is.
  bool epoch_done() const {
    const bool stage_done = progress_.step == stage_end_ && progress_.step < steps_;
    return progress_.batch == loader_->batches_per_epoch() || stage_done;
  }
  /// Whether the run is over: all its steps are done, or validation has stood still for as long as the recipe
  /// waits.
  bool over() const {
    const bool tired = recipe_.patience > 0 && progress_.plateau_waited >= recipe_.patience;
    return (progress_.step >= steps_ || tired) && progress_.epoch_over == 0;
  }
  void say_how_well_learnt(double last_loss);
  void save();

  const TrainOptions& options_;
  const Recipe& recipe_;
  TrainListener& listener_;
  DatasetScan data_;
  PictureList pictures_;
  std::unique_ptr<Loader> loader_, validation_;
  int64_t stage_end_ = 0;  // the step before which batch and size change
  int64_t steps_;
  Schedule schedule_;
  std::unique_ptr<Model> model_;
  Stepper stepper_;
  RunFolder folder_;
  Facts config_;
  Progress progress_;
  TrainResult result_;
  std::optional<double> last_loss_;  // of the steps of this process
  bool log_failed_ = false;
  int64_t saved_ = -1;  // the step of the last checkpoint
};

Trainer::Trainer(const TrainOptions& options, TrainListener& listener)
    : options_(options),
      recipe_(options.recipe),
      listener_(listener),
      data_(checked_pictures(options, listener)),
      pictures_(parts_of(options, data_.pictures).first),
      loader_(std::make_unique<Loader>(pictures_, loader_options(options))),
      steps_(steps_of(options, loader_->batches_per_epoch())),
      schedule_(schedule_of(recipe_, steps_, loader_->batches_per_epoch())),
      model_(make_trainee(options)),
      stepper_(recipe_, *model_),
      folder_(unused_folder(options)),
      config_(configuration(options, *model_, data_, steps_)) {
  if (PictureList last = parts_of(options, data_.pictures).second; !last.empty())
    validation_ = std::make_unique<Loader>(std::move(last), validation_options(options));
}

TrainResult Trainer::run() {
  if (options_.resume) restore();
  for (const std::string& notice : folder_.rewind_logs(progress_)) listener_.on_notice(notice);
  save();  // a disk that takes no checkpoint is better known now than after hours
  folder_.write_config(config_);
  folder_.write_manifest(manifest_of(data_.files));
  if (const int64_t room = folder_.room_for(result_.checkpoint); room >= 0 && room < RunFolder::kKept + 1) {
    listener_.on_notice(cat(folder_.path(), ": the disk has room for ", room, " more checkpoints only"));
  }
  listener_.on_start(config_, progress_.step, steps_);
  open_stage();
  if (progress_.epoch_over != 0 && epoch_done())
    loader_->seek(progress_.epoch + 1, 0);
  else
    loader_->seek(progress_.epoch, progress_.batch);
  while (!over() && !stopped()) {
    if (progress_.epoch_over == 0) {
      const Stopwatch waiting;
      const Batch batch = next_batch();
      update(batch, waiting.seconds());
      ++progress_.batch;
      progress_.epoch_over = epoch_done() || progress_.step == steps_ ? 1 : 0;
    }
    if (progress_.epoch_over != 0) finish_epoch();
    if (open_stage()) loader_->seek(progress_.epoch, 0);
    const bool epoch_ended = progress_.batch == 0 && recipe_.overfit == 0;
    if (epoch_ended || progress_.step % kCheckpointSteps == 0 || progress_.step == steps_ || stopped())
      save();
  }
  if (over() && progress_.best == std::numeric_limits<double>::infinity()) save_best();  // nothing was judged
  if (recipe_.overfit > 0 && over() && last_loss_) say_how_well_learnt(*last_loss_);
  (void)folder_.write_report(config_);
  result_.progress = progress_;
  result_.finished = over();
  return result_;
}

void Trainer::restore() {
  std::vector<FileError> damaged;
  auto found = folder_.latest(damaged);
  for (const FileError& error : damaged) {
    (void)replaceable(error.file).value();  // else the run would end at the step that is saved under its name
    listener_.on_notice("passed over " + error.message());
  }
  if (found) {
    const Checkpoint& checkpoint = found->checkpoint;
    check_same_pictures(checkpoint.config, folder_.manifest(), data_);
    check_same_run(checkpoint.config, config_);
    const int64_t done = checkpoint.progress.step, epochs = checkpoint.progress.epoch;
    check(done <= steps_ && epochs <= done, "train: the run to be resumed has done ", done, " steps in ",
          epochs, " epochs, expected at most ", steps_, " steps, and one in each epoch");
    try {
      model_->load_state_dict(checkpoint.weights);
    } catch (const StateMismatch& error) {
      throw StateMismatch(cat(found->path, ": ", error.what()));
    }
    stepper_.load_state_dict(checkpoint.optimizer);
    progress_ = checkpoint.progress;
    result_.checkpoint = found->path;
  } else {
    if (!damaged.empty() || RunFolder::trained(options_.run)) {
      throw FileException(
          {damaged.empty() ? FileErrorCode::missing : damaged.front().code, folder_.path(), -1,
           "none of its checkpoints can be read; put one back into its folder checkpoints, or "
           "begin a new run in another folder"});
    }
    listener_.on_notice(cat(folder_.path(), " has no checkpoint yet: training begins anew"));
  }
}

// Where batch and size grow with the steps: the loader for the next step. A stage begins with a new epoch.
bool Trainer::open_stage() {
  const int64_t at = progress_.step - progress_.epoch_over;  // the end of an epoch belongs to its own stage
  if (recipe_.stages.empty() || at < stage_end_ || at >= steps_) return false;
  double all = 0, done = 0;
  for (const Stage& stage : recipe_.stages) all += stage.share;
  for (const Stage& stage : recipe_.stages) {
    done += stage.share;
    stage_end_ = std::llround(static_cast<double>(steps_) * done / all);
    if (at >= stage_end_) continue;
    LoaderOptions loader = loader_options(options_);
    loader.batch_size = stage.batch;
    loader.size = stage.size;
    loader_ = std::make_unique<Loader>(pictures_, loader);
    break;
  }
  return true;
}

void Trainer::update(const Batch& batch, double data_seconds) {
  const Stopwatch working;
  const double at =
      recipe_.rate_by_epoch ? static_cast<double>(progress_.epoch + 1) : static_cast<double>(progress_.step);
  const double lr = progress_.rate * schedule_(at);
  Generator chance = Generator(options_.seed, "step").fork(static_cast<uint64_t>(progress_.step));
  const StepInput input{batch.low, batch.high, chance.next()};
  const StepOutcome outcome = step(input, lr);
  if (const std::string why = cuda::take_graph_notice(); !why.empty()) listener_.on_notice(why);
  last_loss_ = outcome.losses.front().second;
  ++progress_.step;
  const bool finite = outcome.failed < 0;
  StepRecord record{.epoch = progress_.epoch + 1,
                    .step = progress_.step,
                    .lr = lr,
                    .losses = outcome.losses,
                    .grad_norm = outcome.grad_norm,
                    .data_seconds = data_seconds,
                    .step_seconds = working.seconds(),
                    .skipped = !finite};
  if (finite) {
    if (std::isinf(progress_.first_loss)) progress_.first_loss = outcome.losses.front().second;
    progress_.skipped = 0;
    progress_.epoch_loss += outcome.losses.front().second;
    ++progress_.epoch_steps;
  }
  if (!folder_.log(record) && !log_failed_) {
    listener_.on_notice(cat(folder_.path(), ": the log cannot be written; training goes on without it"));
    log_failed_ = true;
  }
  listener_.on_step(record);
  // Also after a finite step: an update can overflow, a ReLU hides a weight of minus infinity, and a weight
  // whose second moment is infinite would stand still unseen.
  const std::string ruined = outcome.known_finite ? "" : ruined_state(*model_, stepper_.state_dict());
  if (!finite || !ruined.empty()) skip(input, batch, outcome.failed, ruined);
}

// Where memory ends, which a device may give to others while a run goes on, what was learned is kept first.
StepOutcome Trainer::step(const StepInput& input, double lr) {
  try {
    return stepper_.step(input, lr);
  } catch (const std::bad_alloc&) {
    keep_steps();
    throw;
  }
}

void Trainer::keep_steps() {
  if (progress_.step <= saved_) return;
  try {
    save();
  } catch (const std::exception& refused) {  // the run ends for the other reason
    listener_.on_notice(cat("the steps since step ", saved_, " are lost: ", refused.what()));
  }
}

// Says where the step went wrong, and stops where that cannot be left behind.
void Trainer::skip(const StepInput& input, const Batch& batch, int64_t failed, const std::string& ruined) {
  const auto update = static_cast<size_t>(std::max<int64_t>(0, failed));
  const std::string where = first_not_finite(*recipe_.objective, update, *model_, input, batch.names);
  const std::string text =
      cat("step ", progress_.step, ": ", ruined.empty() ? "a result or gradient is not finite" : ruined,
          where.empty() ? ", though all is finite when the step runs again" : cat(", first in ", where));
  if (ruined.empty() && ++progress_.skipped <= kMaxSkipped)
    return listener_.on_notice(text + "; step skipped");
  const std::string why =
      ruined.empty() ? cat("; ", kMaxSkipped, " steps before it, too") : "; no skipped step heals it";
  keep_evidence(input, batch, text + why);
  throw NumericalStop(text + why);
}

// What a person needs to repeat the step that ends the run.
void Trainer::keep_evidence(const StepInput& input, const Batch& batch, const std::string& text) {
  State tensors{{"low", input.low}};
  if (input.high.defined()) tensors["high"] = input.high;
  for (const auto& [name, weight] : model_->state_dict()) tensors["weights/" + name] = weight;
  for (const auto& [name, moment] : stepper_.state_dict()) tensors["optimizer/" + name] = moment;
  Facts facts = to_metadata(*model_);
  facts["what"] = printable(text);
  facts["step"] = std::to_string(progress_.step);
  facts["key"] = std::to_string(input.key);
  for (const std::string& name : batch.names) facts["pictures"] += printable(name) + "\n";
  try {
    listener_.on_notice("what the step worked with: " + folder_.save_not_finite(on_host(tensors), facts));
  } catch (const std::exception& refused) {  // the run ends for the other reason
    listener_.on_notice(cat("what the step worked with is lost: ", refused.what()));
  }
}

// What ends an epoch, and a run within one, which stays where it is in that epoch: made longer, it goes on
// with the bits of a run that was as long from the start. Where a signal comes before it is done, memory
// ends, or the disk refuses the best weights, whoever resumes does it again.
void Trainer::finish_epoch() {
  const Progress before = progress_;
  // What is learned by heart is one batch: not worth a checkpoint and a picture each time.
  const bool shown = recipe_.overfit == 0 || progress_.step >= steps_;
  try {
    if (shown && !validate()) return;
  } catch (const FileException&) {
    progress_ = before;
    save();
    throw;
  } catch (const std::bad_alloc&) {  // pictures that validate may be larger than those of steps
    progress_ = before;
    keep_steps();
    throw;
  }
  progress_.epoch_over = 0;
  if (epoch_done()) {
    ++progress_.epoch;
    progress_.batch = 0;
    if (shown) progress_.epoch_loss = 0;
    if (shown) progress_.epoch_steps = 0;
  }
  if (!shown) return;
  show_sample(before.epoch + 1);
  (void)folder_.write_report(config_);  // a page that the disk refuses is not worth the run
}

// The best weights so far, and what follows from how good they are. False where a signal came before that.
bool Trainer::validate() {
  if (validation_ == nullptr) {
    if (progress_.epoch_steps > 0) judge(progress_.epoch_loss / static_cast<double>(progress_.epoch_steps));
    return true;
  }
  const std::optional<double> found = validation_psnr();
  if (!found) return false;
  const double psnr = *found;
  judge(-psnr);
  (void)folder_.log_validation(progress_.epoch + 1, psnr);
  listener_.on_notice(
      cat("epoch ", progress_.epoch + 1, ": validation ", exact_text(std::round(100 * psnr) / 100), " dB"));
  if (!epoch_done()) return true;
  if (recipe_.plateau) {
    ReduceOnPlateau plateau({});
    plateau.best = progress_.plateau_best;
    plateau.waited = progress_.plateau_waited;
    progress_.rate = plateau(progress_.rate, psnr);
    progress_.plateau_best = plateau.best;
    progress_.plateau_waited = plateau.waited;
  }
  if (recipe_.patience > 0) {
    progress_.plateau_waited = psnr > progress_.plateau_best ? 0 : progress_.plateau_waited + 1;
    progress_.plateau_best = std::max(progress_.plateau_best, psnr);
    if (progress_.plateau_waited >= recipe_.patience && progress_.step < steps_)
      listener_.on_notice(cat("no better for ", recipe_.patience, " epochs: the run ends"));
  }
  return true;
}

// Where a picture cannot be read any more, what was learned is kept first.
Batch Trainer::next_batch() {
  try {
    return loader_->next();
  } catch (const FileException&) {
    save();
    throw;
  }
}

// A picture of what the network does now; one that cannot be read, that there is no memory for, or that the
// disk refuses, is not worth the run.
void Trainer::show_sample(int64_t epoch) {
  try {
    const Batch sample = loader_->sample();
    Tensors pictures{sample.low, recipe_.objective->result(*model_, sample.low, sample.high)};
    if (sample.high.defined()) pictures.push_back(sample.high);
    folder_.save_sample(epoch, pictures);
  } catch (const FileException& refused) {
    listener_.on_notice(refused.what());
  } catch (const OutOfMemory& refused) {
    listener_.on_notice(cat("no sample of epoch ", epoch, ": ", refused.what()));
  }
}

double Trainer::psnr_of(const Batch& batch) const {
  return metrics::psnr(recipe_.objective->result(*model_, batch.low, batch.high), batch.high);
}

// The mean over the pictures that validate; nothing where a signal came.
std::optional<double> Trainer::validation_psnr() {
  validation_->seek(0, 0);
  double sum = 0;
  const int64_t pictures = validation_->batches_per_epoch();
  for (int64_t i = 0; i < pictures; ++i) {
    if (stopped()) return std::nullopt;
    const Batch batch = validation_->next();
    sum += psnr_of(batch);
  }
  return sum / static_cast<double>(pictures);
}

void Trainer::judge(double criterion) {
  if (!(criterion < progress_.best)) return;
  progress_.best = criterion;
  save_best();
}

void Trainer::save_best() {
  folder_.save_best(on_host(model_->state_dict()), weight_facts(*model_, config_, progress_));
}

// After squares were learned by heart.
void Trainer::say_how_well_learnt(double last_loss) {
  loader_->seek(0, 0);
  const Batch batch = loader_->next();
  std::string text =
      cat("loss ", exact_text(progress_.first_loss), " before, ", exact_text(last_loss), " after");
  if (batch.high.defined()) text += cat(", PSNR ", exact_text(std::round(100 * psnr_of(batch)) / 100), " dB");
  listener_.on_notice(text);
}

void Trainer::save() {
  progress_.jsonl_bytes = folder_.jsonl_bytes();
  progress_.csv_bytes = folder_.csv_bytes();
  result_.checkpoint =
      folder_.save({to_metadata(*model_), on_host(model_->state_dict()), on_host(stepper_.state_dict()),
                    config_, progress_, cuda::convolution_plans_hash()});
  saved_ = progress_.step;
}

}  // namespace

void TrainListener::on_dataset(const std::string&) {}
void TrainListener::on_start(const Facts&, int64_t, int64_t) {}
void TrainListener::on_step(const StepRecord&) {}
void TrainListener::on_notice(const std::string&) {}

TrainResult train(const TrainOptions& options, TrainListener& listener) {
  // What needs no look at the pictures is refused before that long look.
  check_unused(options);
  const bool used = RunFolder::used(options.run);
  check(!options.resume || used, "train: ", options.run, " holds no run to resume");
  if (used) (void)RunFolder(options.run);
  return Trainer(options, listener).run();
}

}  // namespace lux
