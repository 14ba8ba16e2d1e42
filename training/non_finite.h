// Where numbers stop being finite. Nobody looks closely while all goes well: a step with a result or gradient
// that is not finite is run again, watched operator by operator.
#pragma once

#include <string>

#include "luxgrad/data/loader.h"
#include "luxgrad/training/objective.h"

namespace lux {

/// The first weight or moving statistic, else moment of an optimiser, that holds a NaN or an infinity:
/// `e_conv1.weight is not finite at element 17`; empty where there is none.
std::string ruined_state(const Model& model, const State& moments);

/// Runs an update of a step again and names the first operator whose result or gradient is not finite, the
/// element, the weight or picture that it read it from or the weights that it worked with, and the picture it
/// worked on, of `names`. Empty where all is finite this time. The model's gradients are worthless
/// afterwards.
std::string first_not_finite(const Objective& objective, size_t update, Model& model, const StepInput& input,
                             const std::vector<std::string>& names);

}  // namespace lux
