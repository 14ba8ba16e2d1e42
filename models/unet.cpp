#include "luxgrad/models/unet.h"

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/conv2d_repeated.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/layers/init.h"

namespace lux {

Unet::Unet(int64_t width)
    : down1(*this, "down1", 3, width),
      down2(*this, "down2", width, 2 * width),
      bottom(*this, "bottom", 2 * width, 4 * width),
      skip2(*this, "skip2", 2 * width, 4 * width),
      skip1(*this, "skip1", width, 6 * width),
      conv_out(*this, "conv_out", same_conv(14 * width, 3, 3)) {}

void Unet::init_(const Generator& generator) { init_glorot_uniform_(*this, generator); }

Tensor Unet::forward(const Tensor& x) const {
  const Tensor d1 = max_pool2d(down1(x), {});   // [N, H/2, W/2, 32]
  const Tensor d2 = max_pool2d(down2(d1), {});  // [N, H/4, W/4, 64]
  // Doubling the concatenation is doubling its parts: the last convolution sees three resolutions.
  std::vector<Repeated> levels(3);
  levels[0] = {bottom(d2), 2};
  levels[1] = {skip2(d2), 1};
  levels[2] = {skip1(d1), 0};
  return sigmoid(conv2d_repeated(std::move(levels), conv_out.weight, conv_out.bias));
}

}  // namespace lux
