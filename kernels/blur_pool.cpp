// A depthwise convolution with a fixed kernel.
#include "luxgrad/kernels/blur_pool.h"

#include <array>

#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/reflect_pad.h"

namespace lux {

Tensor blur_pool(const Tensor& x) {
  constexpr std::array<double, 3> kBinomial = {0.25, 0.5, 0.25};
  const Tensor padded = reflect_pad(x, 1);
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

}  // namespace lux
