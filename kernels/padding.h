// Padding: how many rows and columns of zeros an operator sees around a picture, each side by itself.
#pragma once

#include <cstdint>

namespace lux {

struct Padding {
  int64_t top = 0, bottom = 0, left = 0, right = 0;

  Padding() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `.padding = 1`
  Padding(int64_t all) : Padding(all, all, all, all) {}
  Padding(int64_t top, int64_t bottom, int64_t left, int64_t right)
      : top(top), bottom(bottom), left(left), right(right) {}

  bool operator==(const Padding&) const = default;
};

}  // namespace lux
