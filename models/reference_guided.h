// Shedding Light on Images: Multi-Level Image Brightness Enhancement Guided by Arbitrary References (Wang et
// al., Pattern Recognition 2022, arXiv:2101.00813).
//
// An encoder turns a picture into 512 numbers, of which the first 96 are taken for its luminance, the others
// for its content. A decoder draws the dark picture anew from its own content and maps, and the luminance of
// another: any well-exposed picture can be the reference, and pictures need not have the same size.
//
//     c1 … c4 = the encoder's maps before each pooling    [L | C] = mean over all pixels of conv5_1
//     y = decoder(c1 … c4 of the dark picture, [L of the reference | C of the dark picture])
//
// The luminance enters as a constant map at the scale of c4; from there the decoder goes up as a U-Net does.
// 5,006,915 parameters.
#pragma once

#include "luxgrad/layers/conv2d.h"
#include "luxgrad/layers/conv_transpose2d.h"
#include "luxgrad/layers/linear.h"
#include "luxgrad/models/model.h"

namespace lux {

/// How other versions differ from the authors' code, which the defaults are.
struct ReferenceGuidedOptions {
  bool deconv_bias = false;    ///< a bias in the transposed convolutions, as a port to PyTorch has: 5,007,139
  bool conv5_act = true;       ///< false: none after conv5_1, as in that port
  int64_t lum_dim = 96;        ///< of 512 features, the first so many are luminance
  bool instance_norm = false;  ///< the training compares the luminance of each picture normalised by itself,
                               ///< as in that port, instead of the whole batch's by its two numbers
  bool skip = true;            ///< false: decoded from the 512 numbers alone, as the paper can be read
  int64_t width = 32;          ///< channels of the first maps
};

class ReferenceGuided final : public Model {
 public:
  static constexpr int64_t kFeatures = 512;

  /// Throws Error where `lum_dim` leaves no feature for luminance or content.
  explicit ReferenceGuided(const ReferenceGuidedOptions& options = {});

  std::string name() const override { return "reference_guided"; }
  ModelConfig config() const override;
  const ReferenceGuidedOptions& options() const { return options_; }
  ModelTraits traits() const override { return {.global = true, .blocks = true}; }
  void init_(const Generator& generator) override;

  struct Encoding {
    Tensor c1, c2, c3, c4;     ///< [N, H / s, W / s, C] with s = 1, 2, 4, 8, rounded up
    Tensor features;           ///< [N, 512]
    int64_t lum_dim = 0;       ///< how many of them are luminance
    Tensor luminance() const;  ///< [N, lum_dim]
    Tensor content() const;    ///< [N, 512 - lum_dim]
  };

  /// x [N, H, W, 3] in [0, 1], of any size.
  Encoding encode(Tensor x) const;
  /// The picture `low` with the luminance [N, lum_dim] of another. [N, H, W, 3] in (0, 1).
  Tensor decode(Encoding low, const Tensor& luminance) const;

  /// The luminance [1, lum_dim] of a reference, of any size: all that is needed of it.
  Tensor look_of(Tensor reference) const;
  /// What `enhance` is guided by from now on, each [1, lum_dim]; of several the results are averaged. None: a
  /// neutral look, that of the picture itself after a gamma that lifts its mean to the middle. Throws Error
  /// for another shape.
  void set_looks(Tensors looks);

  /// `strength` leads from the picture's own luminance to that of the look.
  Tensor enhance(const Tensor& x, double strength) const override;

  struct Encoder : Module {
    Encoder(Module& parent, int64_t width, bool conv5_act);
    Conv2d conv1_1, conv1_2, conv2_1, conv2_2, conv3_1, conv3_2, conv4_1, conv4_2, conv5_1;
  };
  struct Decoder : Module {
    /// `sources`: 2 where every level also reads the encoder's maps, else 1.
    Decoder(Module& parent, int64_t width, int64_t sources, bool deconv_bias);
    Linear dense;
    Conv2d conv6_1, conv6_2;
    ConvTranspose2d up7;
    Conv2d conv7_1, conv7_2;
    ConvTranspose2d up8;
    Conv2d conv8_1, conv8_2;
    ConvTranspose2d up9;
    Conv2d conv9_1, conv9_2, conv10;
  };

  Encoder encoder;
  Decoder decoder;

 private:
  Tensor neutral_look(const Tensor& x) const;

  ReferenceGuidedOptions options_;
  Tensors looks_;
};

}  // namespace lux
