// LPIPS, the learned perceptual image patch similarity (Zhang et al., CVPR 2018, arXiv:1801.03924), version
// 0.1: how differently a network that has learnt to see sees two pictures. 0 where they are equal.
#pragma once

#include "luxgrad/models/trunk.h"

namespace lux {

class Lpips {
 public:
  /// `trunk`: AlexNet or VGG16 under torchvision's names, told apart by their first weights; layers that are
  /// not asked for may be in it. `weights`: what the authors learnt for that network, `lin0.model.1.weight` …
  /// `lin4.model.1.weight`. Both in PyTorch's layout or in luxgrad's. Throws StateMismatch where tensors are
  /// missing or have other shapes, as where the two belong to different networks, or hold what is not finite.
  Lpips(const State& trunk, const State& weights);

  /// Σ over the taps of the mean over all places of w·(x̂ − ŷ)², with maps of length 1 at every place (Eq.
  /// (1)), in float32. x and y [1, H, W, 3] in [0, 1]. Throws Error when shapes differ or a side is less than
  /// `smallest_size`.
  double operator()(const Tensor& x, const Tensor& y) const;

  const char* network() const { return is_vgg16_ ? "VGG16" : "AlexNet"; }
  int64_t smallest_size() const { return is_vgg16_ ? 16 : 31; }

 private:
  struct Weights : Module {
    explicit Weights(std::span<const TrunkConv> convs);
    std::deque<Conv2d> lin;
  };

  bool is_vgg16_;
  Trunk trunk_;
  Weights weights_;
};

}  // namespace lux
