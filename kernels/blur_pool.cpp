// A depthwise convolution with a fixed kernel.
#include "luxgrad/kernels/blur_pool.h"

#include <array>

#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/kernels/rows.h"

namespace lux {
namespace {

Tensor blur(const Tensor& x, const Padding& mirrored) {
  constexpr std::array<double, 3> kBinomial = {0.25, 0.5, 0.25};
  const Tensor padded = reflect_pad(x, mirrored);
  const int64_t C = x.size(3);
  std::vector<double> weights;
  for (int64_t c = 0; c < C; ++c) {
    for (const double down : kBinomial) {
      for (const double across : kBinomial) weights.push_back(down * across);
    }
  }
  const Tensor weight = from_vector(weights, {C, 3, 3, 1}, x.options());
  return conv2d(padded, weight, {}, {.stride = 2, .groups = C});
}

// Some rows: what is mirrored into them is among the rows that they see.
struct BlurredRows final : RowOperator {
  Shape shape(const std::vector<Shape>& inputs) const override {
    const Shape& s = inputs[0];
    return {1, (s[1] + 1) / 2, (s[2] + 1) / 2, s[3]};
  }
  Rows reads(Rows y) const override { return {2 * y.begin - 1, 2 * y.end}; }
  void run(const Bands& inputs, const Band& y) const override {
    const Rows wanted = reads(y.rows), given = inputs[0].rows;
    copy_(y.tensor, blur(inputs[0].tensor, {given.begin - wanted.begin, wanted.end - given.end, 1, 1}));
  }
  Tensor whole(const Tensors& inputs) const override { return blur_pool(inputs[0]); }
};

}  // namespace

Tensor blur_pool(const Tensor& x) {
  const Tensor y = blur(x, 1);
  describe_rows(y, {x}, BlurredRows{});
  return y;
}

}  // namespace lux
