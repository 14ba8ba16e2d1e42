// Learning-rate schedules. One that is known beforehand is a row of phases, each going from one rate to
// another on a line or half a cosine; one that reacts to a metric is ReduceOnPlateau.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace lux {

/// Part of a schedule, `length` steps (or epochs) long: a line, or half a cosine, to + (from − to)·(1 + cos(π
/// t / length)) / 2 (Loshchilov & Hutter, arXiv:1608.03983, eq. 5).
struct Phase {
  enum class Curve : uint8_t { linear, cosine };
  double length;
  double from;
  double to;
  Curve curve = Curve::cosine;
};

class Schedule {
 public:
  /// Throws Error for an empty row or a length that is not positive.
  explicit Schedule(std::vector<Phase> phases);

  /// The rate at position t ≥ 0, in the unit of the lengths. The border of two phases belongs to the earlier
  /// one; after the last, its end value stays.
  double operator()(double t) const;

 private:
  std::vector<Phase> phases_;
};

Schedule constant(double lr);

/// Multiplies the rate by `factor` when a metric has not improved by more than `min_delta` for `patience`
/// epochs in a row, as Keras's ReduceLROnPlateau.
class ReduceOnPlateau {
 public:
  struct Options {
    double factor = 0.5;
    int64_t patience = 5;
    double min_delta = 1e-4;
    double min_lr = 0;
    bool larger_is_better = true;
  };
  explicit ReduceOnPlateau(const Options& options) : options_(options) {}

  /// The rate after an epoch that ended with `metric`, given the rate `lr` of that epoch.
  double operator()(double lr, double metric);

  /// What it remembers: the best metric, and for how many epochs it was not beaten.
  double best = -std::numeric_limits<double>::infinity();
  int64_t waited = 0;

 private:
  Options options_;
};

}  // namespace lux
