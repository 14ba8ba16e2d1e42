// Learning to Enhance Low-Light Image via Zero-Reference Deep Curve Estimation (Li, Guo, Loy, TPAMI 2021,
// arXiv:2103.00860): Zero-DCE++.
//
// Zero-DCE made small and fast. Every convolution becomes a depthwise 3x3 followed by a pointwise 1x1; one
// curve map serves all eight iterations (3 channels instead of 24); and the network may look at a smaller
// copy of the picture, because curve parameters change slowly: only the curve runs at full size.
//
//     A = upsample(tanh(e_conv7 · [x1, x6])) of downsample(x),    x1 … x6 as in Zero-DCE
//     LE_n(x) = LE_{n-1}(x) + A(x)·LE_{n-1}(x)·(1 − LE_{n-1}(x)),    the same A for n = 1 … 8
//
// 10,561 parameters.
#pragma once

#include "luxgrad/layers/conv2d.h"
#include "luxgrad/models/curve_model.h"

namespace lux {

struct ZeroDcePlusOptions {
  int64_t scale_factor =
      1;  ///< the network sees the picture this many times smaller; the authors test with 12
};

class ZeroDcePlus final : public CurveModel {
 public:
  static constexpr int64_t kLargestScale = 64;

  /// Throws Error for a scale_factor outside [1, kLargestScale].
  explicit ZeroDcePlus(const ZeroDcePlusOptions& options = {});

  std::string name() const override { return "zero_dce_plus"; }
  ModelConfig config() const override;
  ModelTraits traits() const override { return {.size_multiple = options_.scale_factor}; }
  void init_(const Generator& generator) override;

  /// [N, H, W, 3], H and W multiples of scale_factor, -> [N, H, W, 3], one map for all iterations. Throws
  /// Error for other sizes.
  Tensor curves(const Tensor& x) const override;
  int maps() const override { return 1; }

  /// Depthwise separable convolution: 3x3 per channel, then 1x1 across channels, nothing in between.
  struct SeparableConv : Module {
    SeparableConv(Module& parent, std::string name, int64_t in, int64_t out,
                  Activation activation = Activation::relu);
    /// Inputs are read as one concatenation and given away: their last readers free them.
    Tensor operator()(Tensors inputs) const;

    Conv2d depth_conv, point_conv;
  };

  static constexpr int64_t kWidth = 32;
  SeparableConv e_conv1{*this, "e_conv1", 3, kWidth};
  SeparableConv e_conv2{*this, "e_conv2", kWidth, kWidth};
  SeparableConv e_conv3{*this, "e_conv3", kWidth, kWidth};
  SeparableConv e_conv4{*this, "e_conv4", kWidth, kWidth};
  SeparableConv e_conv5{*this, "e_conv5", 2 * kWidth, kWidth};
  SeparableConv e_conv6{*this, "e_conv6", 2 * kWidth, kWidth};
  SeparableConv e_conv7{*this, "e_conv7", 2 * kWidth, 3, Activation::tanh};

 private:
  ZeroDcePlusOptions options_;
};

}  // namespace lux
