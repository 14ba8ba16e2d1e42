#include "luxgrad/models/zero_dce.h"

#include "luxgrad/layers/init.h"

namespace lux {

ModelConfig ZeroDce::config() const {
  return {{"concat", options_.concat == ConcatOrder::official ? "official" : "keras"}};
}

void ZeroDce::init_(const Generator& generator) { init_normal_(*this, 0.02, generator); }

Tensors ZeroDce::skip(Tensor earlier, Tensor later) const {
  if (options_.concat == ConcatOrder::keras) std::swap(earlier, later);
  return {std::move(earlier), std::move(later)};
}

Tensor ZeroDce::curves(const Tensor& x) const {
  Tensor x1 = e_conv1(x);  // [N, H, W, 32], as all up to x6
  Tensor x2 = e_conv2(x1);
  Tensor x3 = e_conv3(x2);
  Tensor x4 = e_conv4(x3);
  // Maps are given away where they are read for the last time: without a graph at most five are alive.
  Tensor x5 = e_conv5(skip(std::move(x3), std::move(x4)));
  Tensor x6 = e_conv6(skip(std::move(x2), std::move(x5)));
  return e_conv7(skip(std::move(x1), std::move(x6)));  // [N, H, W, 24]
}

}  // namespace lux
