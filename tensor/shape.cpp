#include "luxgrad/tensor/shape.h"

namespace lux {

Shape::Shape(const int64_t* begin, const int64_t* end) {
  check(end - begin <= kMaxRank, "shape: expected at most ", kMaxRank, " dimensions, got ", end - begin);
  for (const int64_t* size = begin; size != end; ++size) {
    check(*size >= 0, "shape: expected sizes of at least 0, got ", *size);
    check(!__builtin_mul_overflow(numel_, *size, &numel_), "shape: more elements than a 64-bit count holds");
    sizes_[static_cast<size_t>(rank_++)] = *size;
  }
}

Shape Shape::with(int i, int64_t size) const {
  std::array<int64_t, kMaxRank> sizes = sizes_;
  sizes[static_cast<size_t>(i < 0 ? i + rank_ : i)] = size;
  return {sizes.data(), sizes.data() + rank_};
}

void append(std::string& text, const Shape& shape) {
  text += '[';
  for (int i = 0; i < shape.rank(); ++i) append(text, cat(i == 0 ? "" : ", ", shape[i]));
  text += ']';
}

}  // namespace lux
