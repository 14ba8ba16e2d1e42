// Hue, saturation and value of a colour, and the slopes under them, for the plain and the tuned kernels. With
// M the largest channel, m the smallest, R = M - m: S = 1 - m / M, and H is a quotient of a difference of two
// channels and R. The derivatives follow from dR = dM - dm.
#pragma once

#include <algorithm>

#include "luxgrad/tensor/dtype.h"

namespace lux {

/// A colour, and which of its channels decide: first come first served.
template <class A>
struct HsvOrder {
  A rgb[3];
  int largest = 0, smallest = 0;

  LUX_HD HsvOrder(A r, A g, A b) : rgb{r, g, b} {
    for (int c = 1; c < 3; ++c) {
      if (rgb[c] > at(largest)) largest = c;
      if (rgb[c] < at(smallest)) smallest = c;
    }
  }
  // Not by an index, for which a GPU would keep the colour in memory.
  LUX_HD A at(int c) const { return c == 0 ? rgb[0] : c == 1 ? rgb[1] : rgb[2]; }
  LUX_HD A range() const { return at(largest) - at(smallest); }
  // Hue is (at(left()) - at(right())) / (6 range) + largest / 3.
  LUX_HD int left() const { return (largest + 1) % 3; }
  LUX_HD int right() const { return (largest + 2) % 3; }

  LUX_HD A hue() const {
    if (!(range() > A(0))) return A(0);
    const A hue = (at(left()) - at(right())) / (A(6) * range()) + A(largest) / A(3);
    return hue < A(0) ? hue + A(1) : hue;
  }
  LUX_HD A saturation() const { return value() == A(0) ? A(0) : range() / value(); }
  LUX_HD A value() const { return at(largest); }

  /// The gradient of channel c from those of hue, saturation and value.
  LUX_HD A gradient(int c, A of_hue, A of_saturation, A of_value) const {
    // Colours that are nearly gray or black have slopes that overflow; below this they stay as they are here.
    constexpr A kLeast = A(1e-8);
    const A r = std::max(range(), kLeast), v = std::max(value(), kLeast);
    A g = c == largest ? of_value : A(0);
    if (value() != A(0)) {
      if (c == largest) g += of_saturation * (at(smallest) / v) / v;
      if (c == smallest) g -= of_saturation / v;
    }
    if (range() > A(0)) {
      const A step = of_hue / (A(6) * r);
      const A along = step * (at(left()) - at(right())) / r;
      if (c == left()) g += step;
      if (c == right()) g -= step;
      if (c == largest) g -= along;
      if (c == smallest) g += along;
    }
    return g;
  }
};

}  // namespace lux
