// How far a mean over a few pictures would move had other pictures of the kind been taken: the percentile
// bootstrap (Efron, 1979).
#pragma once

#include <cstdint>
#include <vector>

namespace lux {

struct Interval {
  double low = 0, high = 0;
};

struct BootstrapOptions {
  int64_t samples = 10'000;
  double coverage = 0.95;
  uint64_t seed = 0;
};

/// An interval for the mean of every column of `rows`, one row of values per picture. Each of `samples` times
/// as many rows as there are are drawn with replacement and averaged; the interval is from the (1 −
/// coverage)/2 to the (1 + coverage)/2 quantile of these averages, linear between neighbours. All columns
/// share the draws. Throws Error for no rows, rows of different lengths and options out of range.
std::vector<Interval> bootstrap_means(const std::vector<std::vector<double>>& rows,
                                      const BootstrapOptions& options = {});

}  // namespace lux
