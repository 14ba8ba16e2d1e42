#include "luxgrad/models/mirnet_v1.h"

#include "luxgrad/autograd/recompute.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/blur_pool.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/layers/chain.h"
#include "luxgrad/layers/fusion.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

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
  Tensor f = chain(x, body0, slope, body2);
  const AttentionPools pools = attention_pool(f);
  const Tensor pixels = spatial({pools.largest, pools.average}), channels = channel2(channel0(pools.mean));
  f = attention_scale(f, pixels, channels, AttentionOrder::pixels_first);
  return conv.onto(x, f);
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
  const Tensor f = chain(x, top0, top1, top2, top3, blur_pool);
  return top5.onto(chain(x, blur_pool, bot1), f);
}

MirnetV1::Up::Up(Module& parent, std::string name, int64_t in)
    : Module(parent, std::move(name)),
      top0(*this, "top.0", plain(in, in, 1)),
      top1(*this, "top.1"),
      top2(*this, "top.2", {in, in, 3, {.stride = 2, .padding = {1, 0, 1, 0}}, false}),
      top3(*this, "top.3"),
      top4(*this, "top.4", plain(in, in / 2, 1)),
      bot1(*this, "bot.1", plain(in, in / 2, 1)) {}

// A pointwise convolution and an interpolation change places: the convolution sees a quarter of the pixels.
Tensor MirnetV1::Up::operator()(const Tensor& x) const {
  const Tensor f = chain(x, top0, top1, top2, top3);
  return top4.onto(chain(x, bot1, doubled), f);
}

MirnetV1::Block::Block(Module& parent, std::string name, int64_t width, const PRelu& slope)
    : Module(parent, std::move(name)),
      dau1(*this, "blocks.0.0", width, slope),
      dau2(*this, "blocks.1.0", 2 * width, slope),
      dau3(*this, "blocks.2.0", 4 * width, slope),
      last2(*this, "last_up.1.body.0", 2 * width),
      last3a(*this, "last_up.2.body.0", 4 * width),
      last3b(*this, "last_up.2.body.1", 2 * width),
      down1a(*this, "down.64_4.body.0", width),
      down1b(*this, "down.64_4.body.1", 2 * width),
      down1(*this, "down.64_2.body.0", width),
      down2(*this, "down.128_2.body.0", 2 * width),
      up3a(*this, "up.256_4.body.0", 4 * width),
      up3b(*this, "up.256_4.body.1", 2 * width),
      up3(*this, "up.256_2.body.0", 4 * width),
      up2(*this, "up.128_2.body.0", 2 * width),
      conv_out(*this, "conv_out", plain(width, width, 3)),
      skff1(*this, "selective_kernel.0", width),
      skff2(*this, "selective_kernel.1", 2 * width),
      skff3(*this, "selective_kernel.2", 4 * width) {}

Tensor MirnetV1::Block::operator()(const Tensor& x) const {
  Tensor d1 = dau1(x), d2 = chain(d1, down1, dau2), d3 = chain(d2, down2, dau3);
  Tensor e1 = skff1({d1, up2(d2), chain(d3, up3a, up3b)});
  e1 = dau1(e1);
  Tensor e2 = skff2({down1(d1), d2, up3(d3)});
  e2 = dau2(e2);
  Tensor e3 = skff3({chain(d1, down1a, down1b), down2(d2), d3});
  d1 = d2 = d3 = {};
  e3 = dau3(e3);
  Tensor f = skff1({e1, last2(e2), chain(e3, last3a, last3b)});
  e1 = e2 = e3 = {};
  return conv_out.onto(x, f);
}

MirnetV1::Group::Group(Module& parent, std::string name, int64_t width, const PRelu& slope)
    : Module(parent, std::move(name)),
      block0(*this, "body.0", width, slope),
      block1(*this, "body.1", width, slope),
      conv(*this, "body.2", plain(width, width, 3)) {}

Tensor MirnetV1::Group::operator()(const Tensor& x, bool recompute) const {
  Tensor f = x;
  for (const Block* const block : {&block0, &block1})
    f = recompute_if(recompute, [block](const Tensors& in) { return (*block)(in[0]); }, {f});
  return conv.onto(x, f);
}

MirnetV1::MirnetV1(int64_t width, int groups)
    : slope(*this, "body.0.body.0.blocks.0.0.body.1"),
      conv_in(*this, "conv_in", plain(3, width, 3)),
      conv_out(*this, "conv_out", plain(width, 3, 3)) {
  for (int g = 0; g < groups; ++g) body.emplace_back(*this, cat("body.", g), width, slope);
}

void MirnetV1::init_(const Generator& generator) { init_fan_in_uniform_(*this, generator); }

Tensor MirnetV1::forward(const Tensor& x) const {
  Tensor f = conv_in(x);  // [N, H, W, 64]
  for (const Group& group : body) f = group(f, recompute());
  return x + conv_out(f);
}

}  // namespace lux
