#include "luxgrad/models/mirnet_keras.h"

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/layers/fusion.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

constexpr int64_t kWidth = 64;  // of the finest stream
constexpr int kGroups = 3;
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
  const Tensor f = conv2(conv1(x));
  const auto [largest, average, mean] = attention_pool(f);
  const Tensor channels = ca2(ca1(mean));
  const Tensor pixels = compat == Compat::y2021 ? sa({largest, average}) : sa({average, largest});
  return x + conv_out(attention_scale(f, pixels, channels, AttentionOrder::channels_first));
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

Tensor MirnetKeras::Scale::operator()(const Tensor& x) const {
  const auto scaled = [&](const Tensor& map) {
    if (direction == down) return max_pool2d(map, {});
    return resize(map, 2 * map.size(1), 2 * map.size(2), {.mode = ResizeOptions::nearest});
  };
  return main3(scaled(main2(main1(x)))) + skip(scaled(x));
}

MirnetKeras::LevelTwo::LevelTwo(Module& block, Compat compat)
    : down1(block, "skff2_down1", Scale::down, kWidth),
      up3(block, "skff2_up3", Scale::up, 4 * kWidth),
      skff(block, "skff2", 2 * kWidth),
      dau(block, "dau_b.2", 2 * kWidth, compat),
      up(block, "fuse_up2", Scale::up, 2 * kWidth) {}

Tensor MirnetKeras::LevelTwo::operator()(const Tensor& d1, const Tensor& d2, const Tensor& d3) const {
  return up(dau(skff(down1(d1), d2, up3(d3))));
}

MirnetKeras::Block::Block(Module& parent, std::string name, Compat compat)
    : Module(parent, std::move(name)),
      down2(*this, "down2", Scale::down, kWidth),
      down3(*this, "down3", Scale::down, 2 * kWidth),
      dau_a1(*this, "dau_a.1", kWidth, compat),
      dau_a2(*this, "dau_a.2", 2 * kWidth, compat),
      dau_a3(*this, "dau_a.3", 4 * kWidth, compat),
      skff1_up2(*this, "skff1_up2", Scale::up, 2 * kWidth),
      skff1_up3a(*this, "skff1_up3a", Scale::up, 4 * kWidth),
      skff1_up3b(*this, "skff1_up3b", Scale::up, 2 * kWidth),
      skff1(*this, "skff1", kWidth),
      skff3_down1a(*this, "skff3_down1a", Scale::down, kWidth),
      skff3_down1b(*this, "skff3_down1b", Scale::down, 2 * kWidth),
      skff3_down2(*this, "skff3_down2", Scale::down, 2 * kWidth),
      skff3(*this, "skff3", 4 * kWidth),
      dau_b1(*this, "dau_b.1", kWidth, compat),
      dau_b3(*this, "dau_b.3", 4 * kWidth, compat),
      fuse_up3a(*this, "fuse_up3a", Scale::up, 4 * kWidth),
      fuse_up3b(*this, "fuse_up3b", Scale::up, 2 * kWidth),
      fuse(*this, "fuse", kWidth),
      conv_out(*this, "conv_out", same_conv(kWidth, kWidth, 3)) {
  if (compat == Compat::y2023) level2.emplace(*this, compat);
}

Tensor MirnetKeras::Block::operator()(const Tensor& x) const {
  const Tensor l2 = down2(x);
  const Tensor d1 = dau_a1(x), d2 = dau_a2(l2), d3 = dau_a3(down3(l2));
  const Tensor e1 = dau_b1(skff1(d1, skff1_up2(d2), skff1_up3b(skff1_up3a(d3))));
  const Tensor e3 = fuse_up3b(fuse_up3a(dau_b3(skff3(skff3_down1b(skff3_down1a(d1)), skff3_down2(d2), d3))));
  const Tensor e2 = level2 ? (*level2)(d1, d2, d3) : e3;
  return x + conv_out(fuse(e1, e2, e3));
}

MirnetKeras::Group::Group(Module& parent, std::string name, Compat compat)
    : Module(parent, std::move(name)),
      conv_in(*this, "conv_in", same_conv(kWidth, kWidth, 3)),
      block0(*this, "mrb.0", compat),
      block1(*this, "mrb.1", compat),
      conv_out(*this, "conv_out", same_conv(kWidth, kWidth, 3)) {}

Tensor MirnetKeras::Group::operator()(const Tensor& x) const {
  return x + conv_out(block1(block0(conv_in(x))));
}

MirnetKeras::MirnetKeras(Compat compat)
    : conv_in(*this, "conv_in", same_conv(3, kWidth, 3)),
      conv_out(*this, "conv_out", same_conv(kWidth, 3, 3)),
      compat_(compat) {
  for (int g = 0; g < kGroups; ++g) groups.emplace_back(*this, cat("rrg.", g), compat);
}

void MirnetKeras::init_(const Generator& generator) { init_glorot_uniform_(*this, generator); }

Tensor MirnetKeras::forward(const Tensor& x) const {
  Tensor f = conv_in(x);  // [N, H, W, 64]
  for (const Group& group : groups) f = group(f);
  return x + conv_out(f);
}

}  // namespace lux
