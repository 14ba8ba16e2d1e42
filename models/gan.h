// A conditional adversarial network for dark photos, after pix2pix (Isola et al., CVPR 2017,
// arXiv:1611.07004), from the project "Low-light Image Enhancement using GAN".
//
// The generator goes down twice, through six blocks whose results are all kept side by side, and up twice
// with skips:
//
//     e1 = enc1 · x    e2 = enc2 · e1    g = enc3 · e2
//     g = [block_i · g, g] for i = 1 … 6: 256 to 1792 maps
//     u = lrelu(bn([dropout(up1 · up(g)), e2]))
//     u = lrelu(bn([dropout(up2 · up(u)), e1]))
//     y = tanh(bn(out · u))
//
// The discriminator looks at the dark picture and a bright one together, and judges patches of 142 pixels.
// Pictures are in [-1, 1]; leaky_relu has slope 0.2. Batch norm normalises with the statistics of the batch
// also when the network is used, as published. 16,579,401 and 6,965,441 parameters.
#pragma once

#include <deque>
#include <optional>

#include "luxgrad/layers/batch_norm2d.h"
#include "luxgrad/layers/conv2d.h"
#include "luxgrad/models/model.h"

namespace lux {

class Gan final : public Model {
 public:
  /// `width` channels in the first layer of either network.
  explicit Gan(int64_t width = 64);

  std::string name() const override { return "gan"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override {
    return {.size_multiple = 4,
            .global = inference_.stretch || inference_.statistics == BatchNormMode::batch,
            .blocks = true};
  }
  void init_(const Generator& generator) override;

  /// How a pass treats statistics, chance and memory.
  struct Pass {
    BatchNormMode norm{};
    double dropout = 0;  ///< probability; the authors' code has 0.5
    uint64_t dropout_key = 0;
    bool recompute = false;  ///< the generator's parts are computed again for their gradients
  };

  /// A convolution and its batch norm.
  struct Unit : Module {
    Unit(Module& parent, std::string name, const Conv2dSpec& spec, int64_t normalized);
    Conv2d conv;
    BatchNorm2d bn;
  };
  struct Block : Module {
    Block(Module& parent, std::string name, int64_t in, int64_t width);
    Tensor operator()(const Tensors& g, const BatchNormMode& mode) const;
    Conv2d conv_a;
    BatchNorm2d bn_a;
    Conv2d conv_b;
    BatchNorm2d bn_b;
  };
  struct GeneratorNet : Module {
    GeneratorNet(Module& parent, int64_t width);
    /// x [N, H, W, 3] in [-1, 1], H and W multiples of 4 -> the same shape and range.
    Tensor operator()(Tensor x, const Pass& pass) const;
    Unit enc1, enc2, enc3;
    std::deque<Block> blocks;
    Unit up1, up2, out;
  };
  struct DiscriminatorNet : Module {
    DiscriminatorNet(Module& parent, int64_t width);
    /// The probability that patches of `target` are real, given `source`: [N, ⌈H/16⌉, ⌈W/16⌉, 1].
    Tensor operator()(const Tensor& source, const Tensor& target, const BatchNormMode& mode) const;
    /// The same before the sigmoid, as the losses take it.
    Tensor logits(const Tensor& source, const Tensor& target, const BatchNormMode& mode) const;
    Conv2d conv1, conv2, conv3, conv4, conv5, conv_out;
    BatchNorm2d bn2, bn3, bn4, bn5;
  };

  /// How `enhance` works: by default with the statistics of the picture and without dropout.
  struct Inference {
    BatchNormMode::Statistics statistics = BatchNormMode::batch;
    double dropout = 0;    ///< as published: 0.5
    uint64_t seed = 0;     ///< of the dropout
    bool stretch = false;  ///< as published: the result's least value becomes 0, its largest 1
  };
  void set_inference(const Inference& inference) {
    inference_ = inference;
    graphs().clear();  // which work as before
  }

  /// x [N, H, W, 3] in [0, 1] -> the same shape and range.
  Tensor enhance(const Tensor& x, double strength) const override;

  GeneratorNet generator;
  DiscriminatorNet discriminator;

 private:
  Inference inference_;
};

}  // namespace lux
