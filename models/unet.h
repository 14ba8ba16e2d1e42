// The U-Net of the project "simplified MIRNet" for low-light photos and video, after U-Net (Ronneberger et
// al., MICCAI 2015, arXiv:1505.04597).
//
// Two levels down, two up. The skips are unusual: taken after pooling, and brought back to the size of the
// level above by a transposed convolution that is trained. No convolution stands between the two
// concatenations, and a single one draws the picture from all 448 maps.
//
//     d1 = pool(down1 · x)    d2 = pool(down2 · d1)    b = bottom · d2
//     u = up([up(b), skip2.up · relu(skip2.conv · d2)])
//     y = sigmoid(conv_out · [u, skip1.up · relu(skip1.conv · d1)])
//
// up doubles by repetition; convolutions are 3x3 with bias, all but skip.up followed by relu. 908,003
// parameters.
#pragma once

#include "luxgrad/layers/conv2d.h"
#include "luxgrad/layers/conv_transpose2d.h"
#include "luxgrad/models/restorer.h"

namespace lux {

class Unet final : public Restorer {
 public:
  /// `width` channels in the first level.
  explicit Unet(int64_t width = 32);

  std::string name() const override { return "unet"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override { return {.size_multiple = 4}; }
  void init_(const Generator& generator) override;

  /// x [N, H, W, 3] in [0, 1], H and W multiples of 4 -> the same shape and range.
  Tensor forward(const Tensor& x) const override;

  /// Two convolutions in a row.
  struct Double : Module {
    Double(Module& parent, std::string name, int64_t in, int64_t out)
        : Module(parent, std::move(name)),
          conv1(*this, "conv1", same_conv(in, out, 3, Activation::relu)),
          conv2(*this, "conv2", same_conv(out, out, 3, Activation::relu)) {}
    Tensor operator()(const Tensor& x) const { return conv2(conv1(x)); }
    Conv2d conv1, conv2;
  };
  /// What brings the maps of a level up to the next, doubled.
  struct Skip : Module {
    Skip(Module& parent, std::string name, int64_t in, int64_t out)
        : Module(parent, std::move(name)),
          conv(*this, "conv", same_conv(in, out, 3, Activation::relu)),
          up(*this, "up", {out, out, 3, {.stride = 2, .padding = {0, 1, 0, 1}}}) {}
    Tensor operator()(const Tensor& x) const { return up(conv(x)); }
    Conv2d conv;
    ConvTranspose2d up;
  };

  Double down1, down2, bottom;
  Skip skip2, skip1;
  Conv2d conv_out;
};

}  // namespace lux
