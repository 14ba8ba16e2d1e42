// Zero-Reference Deep Curve Estimation for Low-Light Image Enhancement (Guo et al., CVPR 2020,
// arXiv:2001.06826).
//
// A network of seven layers, DCE-Net, looks at the dark picture and predicts for every pixel and channel
// eight curve parameters. Enhancement is then nothing but a quadratic curve that keeps 0 and 1 in place,
// applied eight times (Eq. (3), in curve_model.cpp); each application raises dark values most. So the network
// never draws a picture: structure and detail stay those of the photo.
//
//     x1 = relu(e_conv1 · x)    x2 = relu(e_conv2 · x1)    x3 = relu(e_conv3 · x2)    x4 = relu(e_conv4 · x3)
//     x5 = relu(e_conv5 · [x3, x4])    x6 = relu(e_conv6 · [x2, x5])    A = tanh(e_conv7 · [x1, x6])
//
// Every convolution is 3x3 with stride 1, zero padding 1 and bias; all maps are 32 wide. 79,416 parameters.
#pragma once

#include "luxgrad/layers/conv2d.h"
#include "luxgrad/models/curve_model.h"

namespace lux {

/// Which of two skip-connected maps comes first: the earlier (the authors' code) or the later (keras.io's).
/// The networks are the same up to a permutation of weights.
enum class ConcatOrder { official, keras };

struct ZeroDceOptions {
  ConcatOrder concat = ConcatOrder::official;
};

class ZeroDce final : public CurveModel {
 public:
  explicit ZeroDce(const ZeroDceOptions& options = {}) : options_(options) {}

  std::string name() const override { return "zero_dce"; }
  ModelConfig config() const override;
  ModelTraits traits() const override { return {}; }
  void init_(const Generator& generator) override;

  /// [N, H, W, 3] -> [N, H, W, 24]: channels 3(n-1) to 3n-1 hold A_n.
  Tensor curves(const Tensor& x) const override;

  static constexpr int64_t kWidth = 32;
  Conv2d e_conv1{*this, "e_conv1", conv3x3(3, kWidth)};
  Conv2d e_conv2{*this, "e_conv2", conv3x3(kWidth, kWidth)};
  Conv2d e_conv3{*this, "e_conv3", conv3x3(kWidth, kWidth)};
  Conv2d e_conv4{*this, "e_conv4", conv3x3(kWidth, kWidth)};
  Conv2d e_conv5{*this, "e_conv5", conv3x3(2 * kWidth, kWidth)};
  Conv2d e_conv6{*this, "e_conv6", conv3x3(2 * kWidth, kWidth)};
  Conv2d e_conv7{*this, "e_conv7", conv3x3(2 * kWidth, int64_t{3} * kIterations, Activation::tanh)};

 private:
  static Conv2dSpec conv3x3(int64_t in, int64_t out, Activation activation = Activation::relu) {
    return same_conv(in, out, 3, activation);
  }
  Tensors skip(Tensor earlier, Tensor later) const;

  ZeroDceOptions options_;
};

}  // namespace lux
