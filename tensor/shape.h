// Shape: the sizes of a tensor, outermost first. Pictures are [N, H, W, C].
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "luxgrad/tensor/error.h"

namespace lux {

/// Up to eight non-negative sizes whose product fits in an int64. Rank 0 is a scalar with one element.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  /// Throws Error for a negative size, more than kMaxRank sizes, or a product that overflows.
  Shape(std::initializer_list<int64_t> sizes) : Shape(sizes.begin(), sizes.end()) {}
  Shape(const int64_t* begin, const int64_t* end);

  int rank() const { return rank_; }
  int64_t numel() const { return numel_; }
  /// Size of dimension `i`; negative counts from the end. No bounds check beyond the rank's sign.
  int64_t operator[](int i) const { return sizes_[static_cast<size_t>(i < 0 ? i + rank_ : i)]; }
  const int64_t* begin() const { return sizes_.data(); }
  const int64_t* end() const { return sizes_.data() + rank_; }
  /// This shape with dimension `i` (negative counts from the end) set to `size`.
  Shape with(int i, int64_t size) const;

  bool operator==(const Shape&) const = default;

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int64_t numel_ = 1;
  int rank_ = 0;
};

/// `[2, 3, 4]`
void append(std::string& text, const Shape& shape);

}  // namespace lux
