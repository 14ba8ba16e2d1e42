// Hue, saturation and value of colours.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// RGB [N, H, W, 3] -> hue in [0, 1), saturation, value. V = max; S = range / max, 0 where max is 0; H by the
/// first of R, G, B that is the maximum: (G - B) / 6·range, (B - R) / 6·range + 1/3, (R - G) / 6·range + 2/3,
/// plus 1 where negative, 0 where range is 0. The gradient takes which channel is largest and smallest as
/// given; where range or max is 0 that of hue or saturation is 0. Throws Error for other shapes.
Tensor rgb_to_hsv(const Tensor& x);

}  // namespace lux
