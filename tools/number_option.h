// What options that are numbers may be.
#pragma once

#include <limits>

namespace CLI {
class Validator;
}

namespace lux {

/// The smallest number above 0.
inline constexpr double kAboveZero = std::numeric_limits<double>::denorm_min();

/// Accepts finite numbers from `least` to `most`. CLI11's own ranges let NaN pass.
CLI::Validator finite_number(double least = std::numeric_limits<double>::lowest(),
                             double most = std::numeric_limits<double>::max());

/// Refuses a minus sign, which CLI11 takes for a large number where sizes are wanted.
CLI::Validator no_minus();

}  // namespace lux
