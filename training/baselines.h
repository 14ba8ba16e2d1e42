// What a network has to beat: four ways to brighten a picture that need no training. They see the dark
// picture alone.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// `identity`, `gamma`, `auto_contrast`, `equalize`.
std::vector<std::string> baseline_names();

/// What the baseline of that name makes of `picture` [..., 3] f32 in [0, 1]: the same shape. Throws Error for
/// an unknown name.
///   identity       the picture itself
///   gamma          x^(1/3) of every value
///   auto_contrast  each channel stretched so that its smallest value becomes 0 and its largest 1; a channel
///                  of one value stays
///   equalize       histogram equalisation of each channel of the 8-bit picture: level v becomes
///                  round(255·(n(v) − n₀)/(n − n₀)) / 255, where n(v) of n pixels are at most v and n₀ have
///                  the smallest level; a channel of one level stays
Tensor baseline(const std::string& name, const Tensor& picture);

}  // namespace lux
