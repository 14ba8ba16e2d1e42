// Where the pixels of a resized picture come from along one axis, as the plain and the tuned kernels see it.
#pragma once

#include <cmath>
#include <cstdint>

#include "luxgrad/tensor/dtype.h"

namespace lux {

/// Output = (1 - fraction) · input[first] + fraction · input[second].
struct Taps {
  int64_t first, second;
  double fraction;
  LUX_HD double weight_of(int64_t input) const {
    return (first == input ? 1 - fraction : 0) + (second == input ? fraction : 0);
  }
};

struct ResizeAxis {
  int64_t in, out;
  double ratio;   // input steps per output step
  double centre;  // of a pixel: output o lies over input (o + centre) · ratio - offset
  double offset;
  bool smooth;  // between two pixels, or all of one

  LUX_HD Taps taps(int64_t o) const {
    const double place = (static_cast<double>(o) + centre) * ratio - offset;
    const auto last = static_cast<double>(in - 1);
    const double inside = place < 0 ? 0 : place > last ? last : place;  // fmin and fmax are calls
    const auto first = static_cast<int64_t>(inside);
    if (!smooth || first == in - 1) return {first, first, 0};
    return {first, first + 1, inside - static_cast<double>(first)};
  }
  /// Bounds, with room, of the outputs that may read `input`.
  LUX_HD int64_t first_output(int64_t input) const {
    return input == 0 || ratio == 0 ? 0 : output_over(input - 1, -1);
  }
  LUX_HD int64_t end_output(int64_t input) const {
    return input == in - 1 || ratio == 0 ? out : output_over(input + 1, 2);
  }
  LUX_HD int64_t output_over(int64_t input, int64_t room) const {
    const double o = (static_cast<double>(input) + offset) / ratio - centre + static_cast<double>(room);
    return static_cast<int64_t>(std::fmin(std::fmax(o, 0.0), static_cast<double>(out)));
  }
};

}  // namespace lux
