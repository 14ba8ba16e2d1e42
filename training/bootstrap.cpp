#include "luxgrad/training/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/random.h"

namespace lux {
namespace {

// The quantile of sorted values that stands `share` of the way from the first to the last.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(at));
  const double low = sorted[below], high = sorted[std::min(below + 1, sorted.size() - 1)];
  return low == high ? low : low + (at - static_cast<double>(below)) * (high - low);  // equal ones may be ∞
}

}  // namespace

std::vector<Interval> bootstrap_means(const std::vector<std::vector<double>>& rows,
                                      const BootstrapOptions& options) {
  check(!rows.empty(), "bootstrap_means: expected at least one row");
  check(options.samples >= 1 && options.coverage > 0 && options.coverage < 1,
        "bootstrap_means: expected at least one sample and a coverage between 0 and 1, got ", options.samples,
        " and ", options.coverage);
  const size_t columns = rows[0].size(), samples = static_cast<size_t>(options.samples);
  for (const auto& row : rows)
    check(row.size() == columns, "bootstrap_means: expected rows of one length, got ", columns, " and ",
          row.size());
  std::vector<std::vector<double>> means(columns, std::vector<double>(samples));
  std::vector<double> sums(columns);
  Generator generator(options.seed, "bootstrap");
  for (size_t sample = 0; sample < samples; ++sample) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (size_t draw = 0; draw < rows.size(); ++draw) {
      const auto& row = rows[generator.below(rows.size())];
      for (size_t c = 0; c < columns; ++c) sums[c] += row[c];
    }
    for (size_t c = 0; c < columns; ++c) means[c][sample] = sums[c] / static_cast<double>(rows.size());
  }
  std::vector<Interval> intervals;
  for (std::vector<double>& column : means) {
    std::sort(column.begin(), column.end());
    const double outside = (1 - options.coverage) / 2;
    intervals.push_back({quantile(column, outside), quantile(column, 1 - outside)});
  }
  return intervals;
}

}  // namespace lux
