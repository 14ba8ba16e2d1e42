// tensor/: shapes, dtypes, memory, thread pool, drivers, random numbers.
#include <doctest/doctest.h>

#include "luxgrad/tensor/random.h"

using namespace lux;

TEST_CASE("philox gives the published vectors") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) ==
        std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("distributions take the words of a stream in order, from any position") {
  Generator whole(5, "words"), drawn = whole;
  for (uint64_t start = 0; start < 9; ++start) {
    CAPTURE(start);
    whole.position = drawn.position = start;
    const uint64_t high = whole.next() >> 5, low = whole.next() >> 6;
    CHECK(drawn.uniform() == static_cast<double>(high << 26 | low) * 0x1p-53);
    CHECK(drawn.position == whole.position);
    drawn.normal();
    CHECK(drawn.position == whole.position + 4);
  }
  Generator moments(5, "moments");
  double sum = 0, squares = 0;
  for (int i = 0; i < 100000; ++i) {
    const double value = moments.normal();
    sum += value / 100000;
    squares += value * value / 100000;
  }
  CHECK(sum == doctest::Approx(0).epsilon(0.01));
  CHECK(squares == doctest::Approx(1).epsilon(0.01));
}
