// One step of a training: for each update of the objective its loss, gradients, clipping, and Adam.
#pragma once

#include <memory>

#include "luxgrad/training/recipe.h"

namespace lux {

/// What a step did.
struct StepOutcome {
  std::vector<std::pair<std::string, double>> losses;  ///< `total` of the last update, then all terms
  double grad_norm = 0;                                ///< of the last update, before clipping
  /// The update in which a result, the loss or a gradient is not finite; it and later ones changed nothing.
  /// -1: none.
  int64_t failed = -1;
};

class Stepper {
 public:
  /// Optimisers for the parameters that each update of the recipe's objective moves.
  Stepper(const Recipe& recipe, Model& model);

  /// Throws what the objective throws; the update at work changed nothing then.
  StepOutcome step(const StepInput& input, double lr);

  /// Forgets the gradients.
  void zero_grad();

  /// Of all optimisers: `step`, `exp_avg.<parameter>`, … with `<optimizer>/` before it where there are
  /// several.
  State state_dict() const;
  /// Restores what `state_dict` gave. Throws Error, and changes nothing, where names or shapes differ.
  void load_state_dict(const State& state);

 private:
  struct Optimizer {
    std::string name;
    Adam adam;
  };

  Adam& optimizer_of(const Update& update);
  // Returns the loss. Moving statistics have taken notice also where it failed.
  double update(size_t u, const StepInput& input, double lr, StepOutcome& outcome);

  std::shared_ptr<const Objective> objective_;
  double clip_norm_;
  Model& model_;
  std::vector<Update> updates_;
  std::vector<Optimizer> optimizers_;
  State buffers_;  // handles to what is not trained, such as moving statistics
};

}  // namespace lux
