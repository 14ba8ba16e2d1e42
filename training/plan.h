// What a run would be, before it begins: `luxgrad train --dry-run`.
#pragma once

#include "luxgrad/training/trainer.h"

namespace lux {

struct TrainPlan {
  Facts config;                                           ///< as the run would store it
  std::vector<std::pair<std::string, Shape>> parameters;  ///< in the order of the network
  int64_t parameter_count = 0;
  int64_t steps = 0;
  double seconds_per_step = 0;  ///< measured on one step after a first one
  int64_t peak_bytes = 0;       ///< of tensors, during that step; what loaders hold is not among them
  int64_t predicted_bytes = 0;  ///< what small steps let expect
  int64_t loader_bytes = 0;     ///< at most, of pictures that loaders hold besides
};

/// Looks at the pictures, makes the network, does two steps with it, and writes nothing. Throws as `train`.
TrainPlan plan(const TrainOptions& options, TrainListener& listener);

}  // namespace lux
