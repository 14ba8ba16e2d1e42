// One step of a training: for each update of the objective its loss, gradients, clipping, and Adam.
#pragma once

#include <memory>

#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/training/recipe.h"

namespace lux {

/// What a step did.
struct StepOutcome {
  std::vector<std::pair<std::string, double>> losses;  ///< `total` of the last update, then all terms
  double grad_norm = 0;                                ///< of the last update, before clipping
  /// The update in which a result, the loss or a gradient is not finite; it and later ones changed nothing.
  /// -1: none.
  int64_t failed = -1;
  /// After the last update all weights, statistics and moments were found finite. Only a device looks.
  bool known_finite = false;
};

/// On a device an update is one piece of work without a look at its results, so that it runs as a graph; the
/// gradients are gone afterwards.
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
  // The loss, and the norm of the gradients before clipping; then the terms. Moving statistics have taken
  // notice also where a number is not finite, and nothing else.
  struct Numbers {
    double total = 0, norm = 0;
    std::vector<std::pair<std::string, double>> terms{};
    bool finite = false, state_finite = false;
  };

  Adam& optimizer_of(const Update& update);
  Numbers update(size_t u, const StepInput& input, Adam& adam) const;
  Numbers update_on_device(size_t u, const StepInput& input, Adam& adam);
  // All that the device does: total, norm, 1 where the state is not finite, and terms; in f64, there.
  Tensor run_on_device(size_t u, const StepInput& input, Adam& adam, const Tensor& factors);

  std::shared_ptr<const Objective> objective_;
  double clip_norm_;
  Model& model_;
  std::vector<Update> updates_;
  std::vector<Optimizer> optimizers_;
  State buffers_;                                // handles to what is not trained, such as moving statistics
  std::vector<std::vector<std::string>> terms_;  // names, of each update that ran on a device
  cuda::Graphs graphs_;
};

}  // namespace lux
