#include "luxgrad/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "luxgrad/tensor/error.h"

namespace lux {

Schedule::Schedule(std::vector<Phase> phases) : phases_(std::move(phases)) {
  check(!phases_.empty(), "schedule: expected at least one phase");
  for (const Phase& phase : phases_) {
    check(phase.length > 0, "schedule: expected phases of positive length, got ", phase.length);
  }
}

double Schedule::operator()(double t) const {
  for (const Phase& phase : phases_) {
    if (t <= phase.length) {
      const double part = t / phase.length;
      const double done =
          phase.curve == Phase::Curve::linear ? part : 0.5 - 0.5 * std::cos(std::numbers::pi * part);
      return phase.from + (phase.to - phase.from) * done;
    }
    t -= phase.length;
  }
  return phases_.back().to;
}

Schedule constant(double lr) { return Schedule({{1, lr, lr}}); }

double ReduceOnPlateau::operator()(double lr, double metric) {
  const double score = options_.larger_is_better ? metric : -metric;
  if (score > best + options_.min_delta) {
    best = score;
    waited = 0;
  } else if (++waited >= options_.patience) {
    waited = 0;
    return std::max(options_.min_lr, lr * options_.factor);
  }
  return lr;
}

}  // namespace lux
