// Training: a recipe, a folder of pictures and a run folder become weights.
//
// A run is a function of its configuration and seed. Interrupted after any step and resumed, it ends with the
// same bits as one that was never interrupted.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "luxgrad/training/recipe.h"
#include "luxgrad/training/run_folder.h"

namespace lux {

struct TrainOptions {
  std::string model = "zero_dce";
  ModelConfig model_config{};  ///< options of the network; they win over the recipe's
  Recipe recipe;               ///< its batch, size and epochs may be changed
  std::string data;            ///< folder of pictures, or with folders low/ and high/ in it
  std::string run;             ///< run folder
  int64_t steps = 0;           ///< updates in all; 0: as many as the recipe's epochs have
  uint64_t seed = 0;
  Device device{};        ///< where the network lives and learns
  State first_weights{};  ///< values to begin with instead of the recipe's; empty: those
  std::string names;      ///< file of names: only these pictures (data/split.h); empty: all
  /// Share or number of pictures that validate, chosen by name; 0: those of `validation_names`, a file like
  /// `names`; where that is empty, as the recipe has it.
  double validation = 0;
  std::string validation_names;
  double skip_bad = 0;  ///< train without bad pictures where they are at most so many percent
  /// Compute blocks of the network again instead of keeping their activations: the same bits, less memory.
  bool recompute = false;
  bool resume = false;                      ///< continue from the newest good checkpoint in the run folder
  const std::atomic<bool>* stop = nullptr;  ///< looked at after every step; a signal handler may set it
};

/// Told what happens, as it happens.
class TrainListener {
 public:
  virtual ~TrainListener() = default;
  /// What the folder of pictures is: `485 pairs of our485/low and our485/high (LOL v1)`.
  virtual void on_dataset(const std::string& found);
  /// Before the first step: the effective configuration, the steps already done, and all.
  virtual void on_start(const Facts& config, int64_t done, int64_t steps);
  virtual void on_step(const StepRecord& record);
  /// Something a person should know: a skipped step, a damaged checkpoint.
  virtual void on_notice(const std::string& text);
};

struct TrainResult {
  Progress progress;
  std::string checkpoint;  ///< the last one written or found
  bool finished = false;   ///< false: stopped by the flag; resume to go on
};

/// More than three steps in a row had a loss or gradient that is not finite, or a weight is not. The text
/// names the operator, the tensor, the element and the picture where it began.
class NumericalStop : public Error {
 public:
  using Error::Error;
};

/// Options ask for more than the pictures give, which is known once these were looked at.
class UnfitOption : public Error {
 public:
  using Error::Error;
};

/// Trains until all steps are done or the flag is set, and saves. Throws FileException for bad
/// pictures (the listener is told of each before the first step) and for a run folder that cannot be written;
/// NumericalStop; UnfitOption for more pictures that validate than there are; StateMismatch for weights that
/// do not fit, those of a checkpoint with its file; and Error for a run folder that
/// holds another run, or a resume with another configuration. A run folder in which another process works
/// gives FileErrorCode::busy.
TrainResult train(const TrainOptions& options, TrainListener& listener);

}  // namespace lux
