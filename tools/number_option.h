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

/// For numbers of 64 bits without sign: refuses a minus sign and what is larger, which CLI11 makes large
/// numbers of.
CLI::Validator whole_number();

/// For sizes of memory like `2G`, `1.5 GB`, `500MiB` or `4096`: makes them whole bytes, at least one. Units
/// are powers of 1024.
CLI::Validator memory_size();

}  // namespace lux
