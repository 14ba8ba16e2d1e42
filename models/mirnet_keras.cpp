#include "luxgrad/models/mirnet_keras.h"

#include "luxgrad/autograd/recompute.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/layers/chain.h"
#include "luxgrad/layers/fusion.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

constexpr Activation kRelu = Activation::relu, kSigmoid = Activation::sigmoid;

}  // namespace

MirnetKeras::Dau::Dau(Module& parent, std::string name, int64_t channels, Compat compat)
    : Module(parent, std::move(name)),
      compat(compat),
      conv1(*this, "conv1", same_conv(channels, channels, 3, kRelu)),
      conv2(*this, "conv2", same_conv(channels, channels, 3)),
      ca1(*this, "ca1", same_conv(channels, channels / 8, 1, kRelu)),
      ca2(*this, "ca2", same_conv(channels / 8, channels, 1, kSigmoid)),
      sa(*this, "sa", same_conv(2, 1, 1, kSigmoid)),
      conv_out(*this, "conv_out", same_conv(2 * channels, channels, 1)) {}

Tensor MirnetKeras::Dau::operator()(const Tensor& x) const {
  Tensor f = chain(x, conv1, conv2);
  const auto [largest, average, mean] = attention_pool(f);
  const Tensor channels = ca2(ca1(mean));
  const Tensor pixels = compat == Compat::y2021 ? sa({largest, average}) : sa({average, largest});
  f = attention_scale(f, pixels, channels, AttentionOrder::channels_first);
  return conv_out.onto(x, f);
}

MirnetKeras::Skff::Skff(Module& parent, std::string name, int64_t channels)
    : Module(parent, std::move(name)),
      squeeze(*this, "squeeze", same_conv(channels, channels / 8, 1, kRelu)),
      excite1(*this, "excite1", same_conv(channels / 8, channels, 1)),
      excite2(*this, "excite2", same_conv(channels / 8, channels, 1)),
      excite3(*this, "excite3", same_conv(channels / 8, channels, 1)) {}

Tensor MirnetKeras::Skff::operator()(const Tensor& a, const Tensor& b, const Tensor& c) const {
  const Tensor z = squeeze(pooled_sum({a, b, c}));
  return fuse_across_channels({a, b, c}, {excite1(z), excite2(z), excite3(z)});
}

MirnetKeras::Scale::Scale(Module& parent, std::string name, Direction direction, int64_t in)
    : Module(parent, std::move(name)),
      direction(direction),
      main1(*this, "main1", same_conv(in, in, 1, kRelu)),
      main2(*this, "main2", same_conv(in, in, 3, kRelu)),
      main3(*this, "main3", same_conv(in, direction == down ? 2 * in : in / 2, 1)),
      skip(*this, "skip", same_conv(in, direction == down ? 2 * in : in / 2, 1)) {}

// A pointwise convolution and a repetition of pixels change places: the convolution sees a quarter of them.
Tensor MirnetKeras::Scale::operator()(const Tensor& x) const {
  if (direction == up) {
    const Tensor f = main3.onto(skip(x), chain(x, main1, main2));
    return resize(f, 2 * f.size(1), 2 * f.size(2), {.mode = ResizeOptions::nearest});
  }
  const auto halved = [](const Tensor& map) { return max_pool2d(map, {}); };
  return main3.onto(chain(x, halved, skip), chain(x, main1, main2, halved));
}

MirnetKeras::LevelTwo::LevelTwo(Module& block, int64_t width, Compat compat)
    : down1(block, "skff2_down1", Scale::down, width),
      up3(block, "skff2_up3", Scale::up, 4 * width),
      skff(block, "skff2", 2 * width),
      dau(block, "dau_b.2", 2 * width, compat),
      up(block, "fuse_up2", Scale::up, 2 * width) {}

Tensor MirnetKeras::LevelTwo::operator()(const Tensor& d1, const Tensor& d2, const Tensor& d3) const {
  Tensor s = skff(down1(d1), d2, up3(d3));
  return chain(std::move(s), dau, up);
}

MirnetKeras::Block::Block(Module& parent, std::string name, int64_t width, Compat compat)
    : Module(parent, std::move(name)),
      down2(*this, "down2", Scale::down, width),
      down3(*this, "down3", Scale::down, 2 * width),
      dau_a1(*this, "dau_a.1", width, compat),
      dau_a2(*this, "dau_a.2", 2 * width, compat),
      dau_a3(*this, "dau_a.3", 4 * width, compat),
      skff1_up2(*this, "skff1_up2", Scale::up, 2 * width),
      skff1_up3a(*this, "skff1_up3a", Scale::up, 4 * width),
      skff1_up3b(*this, "skff1_up3b", Scale::up, 2 * width),
      skff1(*this, "skff1", width),
      skff3_down1a(*this, "skff3_down1a", Scale::down, width),
      skff3_down1b(*this, "skff3_down1b", Scale::down, 2 * width),
      skff3_down2(*this, "skff3_down2", Scale::down, 2 * width),
      skff3(*this, "skff3", 4 * width),
      dau_b1(*this, "dau_b.1", width, compat),
      dau_b3(*this, "dau_b.3", 4 * width, compat),
      fuse_up3a(*this, "fuse_up3a", Scale::up, 4 * width),
      fuse_up3b(*this, "fuse_up3b", Scale::up, 2 * width),
      fuse(*this, "fuse", width),
      conv_out(*this, "conv_out", same_conv(width, width, 3)) {
  if (compat == Compat::y2023) level2.emplace(*this, width, compat);
}

Tensor MirnetKeras::Block::operator()(const Tensor& x) const {
  Tensor l2 = down2(x);
  Tensor d1 = dau_a1(x), d2 = dau_a2(l2), d3 = chain(std::move(l2), down3, dau_a3);
  Tensor e1 = skff1(d1, skff1_up2(d2), chain(d3, skff1_up3a, skff1_up3b));
  e1 = dau_b1(e1);
  Tensor e3 = skff3(chain(d1, skff3_down1a, skff3_down1b), skff3_down2(d2), d3);
  e3 = chain(std::move(e3), dau_b3, fuse_up3a, fuse_up3b);
  Tensor e2 = level2 ? (*level2)(d1, d2, d3) : e3;
  d1 = d2 = d3 = {};
  Tensor f = fuse(e1, e2, e3);
  e1 = e2 = e3 = {};
  return conv_out.onto(x, f);
}

MirnetKeras::Group::Group(Module& parent, std::string name, int64_t width, Compat compat)
    : Module(parent, std::move(name)),
      conv_in(*this, "conv_in", same_conv(width, width, 3)),
      block0(*this, "mrb.0", width, compat),
      block1(*this, "mrb.1", width, compat),
      conv_out(*this, "conv_out", same_conv(width, width, 3)) {}

Tensor MirnetKeras::Group::operator()(const Tensor& x, bool recompute) const {
  Tensor f = conv_in(x);
  for (const Block* const block : {&block0, &block1})
    f = recompute_if(recompute, [block](const Tensors& in) { return (*block)(in[0]); }, {f});
  return conv_out.onto(x, f);
}

MirnetKeras::MirnetKeras(Compat compat, int64_t width, int count)
    : conv_in(*this, "conv_in", same_conv(3, width, 3)),
      conv_out(*this, "conv_out", same_conv(width, 3, 3)),
      compat_(compat) {
  for (int g = 0; g < count; ++g) groups.emplace_back(*this, cat("rrg.", g), width, compat);
}

void MirnetKeras::init_(const Generator& generator) { init_glorot_uniform_(*this, generator); }

Tensor MirnetKeras::forward(const Tensor& x) const {
  Tensor f = conv_in(x);  // [N, H, W, 64]
  for (const Group& group : groups) f = group(f, recompute());
  return x + conv_out(f);
}

}  // namespace lux
