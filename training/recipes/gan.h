// The adversaries' objective: three updates a step. The discriminator learns that the reference is real, then
// that the generator's picture is not; the generator learns to be taken for real and to be near the
// reference.
#pragma once

#include "luxgrad/training/objective.h"

namespace lux {

struct AdversarialOptions {
  double l1 = 100;       ///< weight of mean |fake − reference|, pictures in [−1, 1]
  double dropout = 0.5;  ///< in the generator
  /// The generator's optimiser also moves scale and shift of the discriminator's batch norms: in the authors'
  /// code these alone were not frozen.
  bool moves_norms = false;
};

class Adversarial final : public Objective {
 public:
  explicit Adversarial(const AdversarialOptions& options) : options_(options) {}

  std::map<std::string, std::string> facts() const override;
  std::vector<Update> updates() const override;
  /// Without dropout.
  std::shared_ptr<const Objective> without_chance() const override;

 private:
  Loss compute(const Model& model, const StepInput& input, size_t update) const override;

  AdversarialOptions options_;
};

}  // namespace lux
