// VGG16 up to a tap, by whose maps a perceptual loss compares pictures (Johnson et al., ECCV 2016).
#pragma once

#include <string_view>

#include "luxgrad/models/trunk.h"

namespace lux {

class Vgg16 : public Trunk {
 public:
  enum class Tap { relu3_3, relu4_3 };

  /// 1,735,488 parameters up to relu3_3, 7,635,264 up to relu4_3. None asks for a gradient.
  explicit Vgg16(Tap tap = Tap::relu3_3);

  /// x [N, H, W, 3] in [0, 1], of at least `smallest_size` pixels a side; ImageNet's mean and deviation are
  /// taken out here. -> [N, H/4, W/4, 256] of relu3_3, [N, H/8, W/8, 512] of relu4_3, sizes rounded down.
  Tensor operator()(const Tensor& x) const;

  int64_t smallest_size() const { return tap_ == Tap::relu3_3 ? 4 : 8; }
  const char* tap_name() const { return tap_ == Tap::relu3_3 ? "relu3_3" : "relu4_3"; }

 private:
  Tap tap_;
};

/// The tap of that name. Throws Error with the names there are.
Vgg16::Tap vgg16_tap(std::string_view name);

}  // namespace lux
