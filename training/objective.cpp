#include "luxgrad/training/objective.h"

namespace lux {

Loss Objective::loss(const Model& model, const StepInput& input, size_t update) const {
  check(!needs_references() || input.high.defined(), "objective: expected pictures with references");
  return compute(model, input, update);
}

}  // namespace lux
