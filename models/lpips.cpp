#include "luxgrad/models/lpips.h"

#include <algorithm>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/models/official_weights.h"

namespace lux {
namespace {

bool is_vgg16(const State& trunk) {
  const Trunk known(vgg16_convs().first(1));
  const State own = trunk_weights(known, trunk);
  const auto first = own.find("features.0.weight");
  return first != own.end() && first->second.shape() == known.features[0].weight.shape();
}

// The authors' scaling of pictures in [-1, 1], for pictures in [0, 1].
Tensor scaled(const Tensor& x) {
  const TensorOptions f32{DType::f32, kCpu};
  const Tensor shift = from_vector({-0.030, -0.088, -0.188}, {3}, f32);
  const Tensor scale = from_vector({0.458, 0.448, 0.450}, {3}, f32);
  return (x.to(DType::f32) * 2.0 - 1.0 - shift) / scale;
}

Tensor unit(const Tensor& maps) { return maps / (sqrt(sum(square(maps), {3}, true)) + 1e-10); }

}  // namespace

Lpips::Weights::Weights(std::span<const TrunkConv> convs) {
  for (const TrunkConv& conv : convs) {
    if (!conv.tap) continue;
    lin.emplace_back(*this, cat("lin", lin.size(), ".model.1"),
                     Conv2dSpec{.in_channels = conv.out, .out_channels = 1, .bias = false});
  }
  requires_grad_(false);
}

Lpips::Lpips(const State& trunk, const State& weights)
    : is_vgg16_(is_vgg16(trunk)),
      trunk_(is_vgg16_ ? vgg16_convs() : alexnet_convs()),
      weights_(is_vgg16_ ? vgg16_convs() : alexnet_convs()) {
  trunk_.load_state_dict(trunk_weights(trunk_, trunk));
  weights_.load_state_dict(trunk_weights(weights_, weights));
}

double Lpips::operator()(const Tensor& x, const Tensor& y) const {
  check(x.shape() == y.shape(), "lpips: expected two equal shapes, got ", x.shape(), " and ", y.shape());
  check(x.shape().rank() == 4 && x.size(0) == 1 && x.size(3) == 3 &&
            std::min(x.size(1), x.size(2)) >= smallest_size(),
        "lpips: expected a picture [1, H, W, 3] with sides of at least ", smallest_size(), " for ", network(),
        ", got ", x.shape());
  const NoGrad no_grad;
  const Tensors of_x = trunk_.maps(scaled(x)), of_y = trunk_.maps(scaled(y));
  double distance = 0;
  for (size_t tap = 0; tap < of_x.size(); ++tap)
    distance += mean(weights_.lin[tap](square(unit(of_x[tap]) - unit(of_y[tap])))).item();
  return distance;
}

}  // namespace lux
