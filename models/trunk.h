// The convolutions of networks that were trained to name what a picture shows: none that enhances, but two
// that have learnt to see, by whose maps pictures are compared. Parameters have torchvision's names,
// `features.0.weight` …; the project brings no values for them.
#pragma once

#include <deque>
#include <span>

#include "luxgrad/layers/conv2d.h"

namespace lux {

/// A convolution with relu behind it.
struct TrunkConv {
  int64_t in, out, kernel_size, stride, padding;
  int64_t pool;   ///< side of the maximum, two pixels apart, that is taken before it; 0: none
  bool tap;       ///< whether its rectified maps are compared
  int64_t place;  ///< in torchvision's row of layers, where rectifiers and maxima count, too
};

/// AlexNet as torchvision has it (Krizhevsky, arXiv:1404.5997): taps relu1 … relu5 of 64, 192, 384, 256, 256
/// channels.
std::span<const TrunkConv> alexnet_convs();

/// VGG16 (Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556): blocks of 64, 64 | 128, 128 | 256, 256, 256 |
/// 512, 512, 512 | 512, 512, 512 channels; the last of each block, relu1_2 … relu5_3, is a tap.
std::span<const TrunkConv> vgg16_convs();

class Trunk : public Module {
 public:
  /// `convs` stays where it is. No parameter asks for a gradient.
  explicit Trunk(std::span<const TrunkConv> convs);

  /// x [N, H, W, 3], normalised as the network expects it -> the maps [N, H', W', C] of each tap. Throws
  /// Error where the picture is too small for a window.
  Tensors maps(Tensor x) const;

  std::deque<Conv2d> features;

 private:
  std::span<const TrunkConv> convs_;
};

}  // namespace lux
