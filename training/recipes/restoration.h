// The objective of every network that draws the picture itself: a distance to the reference.
#pragma once

#include "luxgrad/training/objective.h"

namespace lux {

class Restoration final : public Objective {
 public:
  using Distance = Tensor (*)(const Tensor& result, const Tensor& reference);
  /// `name` is the distance's, for logs. `within`: the result is kept within [0, 1] before it is compared.
  Restoration(std::string name, Distance distance, bool within = false);

  std::map<std::string, std::string> facts() const override;

 private:
  Loss compute(const Model& model, const StepInput& input, size_t update) const override;

  std::string name_;
  Distance distance_;
  bool within_;
};

}  // namespace lux
