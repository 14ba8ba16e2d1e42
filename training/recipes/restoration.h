// The objective of every network that draws the picture itself: a distance to the reference.
#pragma once

#include <memory>

#include "luxgrad/models/vgg16.h"
#include "luxgrad/training/objective.h"

namespace lux {

/// A further term: the distance of what a fixed network sees.
struct PerceptualTerm {
  std::shared_ptr<const Vgg16> trunk{};  ///< null: none
  double weight = 0;
  std::string sha256{};  ///< of the file that its weights are from
};

class Restoration final : public Objective {
 public:
  using Distance = Tensor (*)(const Tensor& result, const Tensor& reference);
  /// `name` is the distance's, for logs. `within`: the result is kept within [0, 1] before it is compared.
  Restoration(std::string name, Distance distance, bool within = false);

  /// The same, with a perceptual term.
  Restoration with(PerceptualTerm term) const;

  std::map<std::string, std::string> facts() const override;
  int64_t smallest_size() const override;

 private:
  Loss compute(const Model& model, const StepInput& input, size_t update) const override;

  std::string name_;
  Distance distance_;
  bool within_;
  PerceptualTerm perceptual_;
};

}  // namespace lux
