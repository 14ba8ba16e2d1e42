#include "luxgrad/models/mirnet_v1.h"

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/blur_pool.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/layers/fusion.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

constexpr int64_t kWidth = 64;  // of the finest stream
constexpr int kGroups = 3;

Conv2dSpec plain(int64_t in, int64_t out, int64_t kernel, Activation activation = Activation::none) {
  Conv2dSpec spec = same_conv(in, out, kernel, activation);
  spec.bias = false;
  return spec;
}

Tensor doubled(const Tensor& x) { return resize(x, 2 * x.size(1), 2 * x.size(2)); }

}  // namespace

MirnetV1::Dau::Dau(Module& parent, std::string name, int64_t channels, const PRelu& slope)
    : Module(parent, std::move(name)),
      slope(slope),
      body0(*this, "body.0", plain(channels, channels, 3)),
      body2(*this, "body.2", plain(channels, channels, 3)),
      spatial(*this, "SA.spatial.conv", plain(2, 1, 5, Activation::sigmoid)),
      channel0(*this, "CA.conv_du.0", plain(channels, channels / 8, 1, Activation::relu)),
      channel2(*this, "CA.conv_du.2", plain(channels / 8, channels, 1, Activation::sigmoid)),
      conv(*this, "conv1x1", plain(2 * channels, channels, 1)) {}

Tensor MirnetV1::Dau::operator()(const Tensor& x) const {
  const Tensor f = body2(slope(body0(x)));
  const AttentionPools pools = attention_pool(f);
  const Tensor pixels = spatial({pools.largest, pools.average}), channels = channel2(channel0(pools.mean));
  return conv(attention_scale(f, pixels, channels, AttentionOrder::pixels_first)) + x;
}

MirnetV1::Skff::Skff(Module& parent, std::string name, int64_t channels)
    : Module(parent, std::move(name)),
      squeeze(*this, "conv_du.0", plain(channels, channels / 8, 1)),
      slope(*this, "conv_du.1"),
      excite0(*this, "fcs.0", plain(channels / 8, channels, 1)),
      excite1(*this, "fcs.1", plain(channels / 8, channels, 1)),
      excite2(*this, "fcs.2", plain(channels / 8, channels, 1)) {}

Tensor MirnetV1::Skff::operator()(const Tensors& streams) const {
  const Tensor z = slope(squeeze(pooled_sum(streams)));
  return fuse_across_streams(streams, {excite0(z), excite1(z), excite2(z)});
}

MirnetV1::Down::Down(Module& parent, std::string name, int64_t in)
    : Module(parent, std::move(name)),
      top0(*this, "top.0", plain(in, in, 1)),
      top1(*this, "top.1"),
      top2(*this, "top.2", plain(in, in, 3)),
      top3(*this, "top.3"),
      top5(*this, "top.5", plain(in, 2 * in, 1)),
      bot1(*this, "bot.1", plain(in, 2 * in, 1)) {}

Tensor MirnetV1::Down::operator()(const Tensor& x) const {
  return top5(blur_pool(top3(top2(top1(top0(x)))))) + bot1(blur_pool(x));
}

MirnetV1::Up::Up(Module& parent, std::string name, int64_t in)
    : Module(parent, std::move(name)),
      top0(*this, "top.0", plain(in, in, 1)),
      top1(*this, "top.1"),
      top2(*this, "top.2", {in, in, 3, {.stride = 2, .padding = {1, 0, 1, 0}}, false}),
      top3(*this, "top.3"),
      top4(*this, "top.4", plain(in, in / 2, 1)),
      bot1(*this, "bot.1", plain(in, in / 2, 1)) {}

Tensor MirnetV1::Up::operator()(const Tensor& x) const {
  return top4(top3(top2(top1(top0(x))))) + bot1(doubled(x));
}

MirnetV1::Block::Block(Module& parent, std::string name, const PRelu& slope)
    : Module(parent, std::move(name)),
      dau1(*this, "blocks.0.0", kWidth, slope),
      dau2(*this, "blocks.1.0", 2 * kWidth, slope),
      dau3(*this, "blocks.2.0", 4 * kWidth, slope),
      last2(*this, "last_up.1.body.0", 2 * kWidth),
      last3a(*this, "last_up.2.body.0", 4 * kWidth),
      last3b(*this, "last_up.2.body.1", 2 * kWidth),
      down1a(*this, "down.64_4.body.0", kWidth),
      down1b(*this, "down.64_4.body.1", 2 * kWidth),
      down1(*this, "down.64_2.body.0", kWidth),
      down2(*this, "down.128_2.body.0", 2 * kWidth),
      up3a(*this, "up.256_4.body.0", 4 * kWidth),
      up3b(*this, "up.256_4.body.1", 2 * kWidth),
      up3(*this, "up.256_2.body.0", 4 * kWidth),
      up2(*this, "up.128_2.body.0", 2 * kWidth),
      conv_out(*this, "conv_out", plain(kWidth, kWidth, 3)),
      skff1(*this, "selective_kernel.0", kWidth),
      skff2(*this, "selective_kernel.1", 2 * kWidth),
      skff3(*this, "selective_kernel.2", 4 * kWidth) {}

Tensor MirnetV1::Block::operator()(const Tensor& x) const {
  const Tensor d1 = dau1(x), d2 = dau2(down1(d1)), d3 = dau3(down2(d2));
  const Tensor e1 = dau1(skff1({d1, up2(d2), up3b(up3a(d3))}));
  const Tensor e2 = dau2(skff2({down1(d1), d2, up3(d3)}));
  const Tensor e3 = dau3(skff3({down1b(down1a(d1)), down2(d2), d3}));
  return conv_out(skff1({e1, last2(e2), last3b(last3a(e3))})) + x;
}

MirnetV1::Group::Group(Module& parent, std::string name, const PRelu& slope)
    : Module(parent, std::move(name)),
      block0(*this, "body.0", slope),
      block1(*this, "body.1", slope),
      conv(*this, "body.2", plain(kWidth, kWidth, 3)) {}

Tensor MirnetV1::Group::operator()(const Tensor& x) const { return conv(block1(block0(x))) + x; }

MirnetV1::MirnetV1()
    : slope(*this, "body.0.body.0.blocks.0.0.body.1"),
      conv_in(*this, "conv_in", plain(3, kWidth, 3)),
      conv_out(*this, "conv_out", plain(kWidth, 3, 3)) {
  for (int g = 0; g < kGroups; ++g) body.emplace_back(*this, cat("body.", g), slope);
}

void MirnetV1::init_(const Generator& generator) { init_fan_in_uniform_(*this, generator); }

Tensor MirnetV1::forward(const Tensor& x) const {
  Tensor f = conv_in(x);  // [N, H, W, 64]
  for (const Group& group : body) f = group(f);
  return x + conv_out(f);
}

}  // namespace lux
