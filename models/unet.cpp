#include "luxgrad/models/unet.h"

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

Tensor doubled(const Tensor& x) {
  return resize(x, 2 * x.size(1), 2 * x.size(2), {.mode = ResizeOptions::nearest});
}

}  // namespace

Unet::Unet(int64_t width)
    : down1(*this, "down1", 3, width),
      down2(*this, "down2", width, 2 * width),
      bottom(*this, "bottom", 2 * width, 4 * width),
      skip2(*this, "skip2", 2 * width, 4 * width),
      skip1(*this, "skip1", width, 6 * width),
      conv_out(*this, "conv_out", same_conv(14 * width, 3, 3, Activation::sigmoid)) {}

void Unet::init_(const Generator& generator) { init_glorot_uniform_(*this, generator); }

Tensor Unet::forward(const Tensor& x) const {
  const Tensor d1 = max_pool2d(down1(x), {});   // [N, H/2, W/2, 32]
  const Tensor d2 = max_pool2d(down2(d1), {});  // [N, H/4, W/4, 64]
  // Doubling the concatenation is doubling its parts.
  const Tensor u = doubled(doubled(bottom(d2)));  // [N, H, W, 128]
  const Tensor v = doubled(skip2(d2));            // [N, H, W, 128]
  return conv_out({u, v, skip1(d1)});
}

}  // namespace lux
