#include "luxgrad/models/mirnet_v2.h"

#include <algorithm>
#include <array>

#include "luxgrad/autograd/recompute.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/global_context.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/residual.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/layers/chain.h"
#include "luxgrad/layers/fusion.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

constexpr double kSlope = 0.2;

Conv2dSpec plain(int64_t in, int64_t out, int64_t kernel, int64_t groups = 1,
                 Activation activation = Activation::none) {
  Conv2dSpec spec = same_conv(in, out, kernel, activation, kSlope);
  spec.options.groups = groups;
  spec.bias = false;
  return spec;
}

}  // namespace

MirnetV2::Rcb::Rcb(Module& parent, std::string name, int64_t channels, int64_t groups)
    : Module(parent, std::move(name)),
      body0(*this, "body.0", plain(channels, channels, 3, groups, Activation::leaky_relu)),
      body2(*this, "body.2", plain(channels, channels, 3, groups)),
      mask(*this, "gcnet.conv_mask", plain(channels, 1, 1)),
      add0(*this, "gcnet.channel_add_conv.0", plain(channels, channels, 1, 1, Activation::leaky_relu)),
      add2(*this, "gcnet.channel_add_conv.2", plain(channels, channels, 1)) {}

Tensor MirnetV2::Rcb::operator()(const Tensor& x) const {
  const Tensor f = chain(x, body0, body2);
  const Tensor context = global_context(f, mask(f));  // [N, 1, 1, C]
  return residual(f, add2(add0(context)), kSlope, x);
}

MirnetV2::Skff::Skff(Module& parent, std::string name, int64_t channels)
    : Module(parent, std::move(name)),
      squeeze(*this, "conv_du.0",
              plain(channels, std::max<int64_t>(channels / 8, 4), 1, 1, Activation::leaky_relu)),
      fine(*this, "fcs.0", plain(std::max<int64_t>(channels / 8, 4), channels, 1)),
      coarse(*this, "fcs.1", plain(std::max<int64_t>(channels / 8, 4), channels, 1)) {}

Tensor MirnetV2::Skff::operator()(const Tensor& a, const Tensor& b) const {
  const Tensor z = squeeze(pooled_sum({a, b}));
  return fuse_across_streams({a, b}, {fine(z), coarse(z)});
}

MirnetV2::Down::Down(Module& parent, std::string name, int64_t in, int64_t out)
    : Module(parent, std::move(name)), conv(*this, "body.0.bot.1", plain(in, out, 1)) {}

Tensor MirnetV2::Down::operator()(const Tensor& x) const {
  return conv(avg_pool2d(x, {.ceil_mode = true, .count_include_pad = false}));
}

MirnetV2::Up::Up(Module& parent, std::string name, int64_t in, int64_t out)
    : Module(parent, std::move(name)), conv(*this, "body.0.bot.0", plain(in, out, 1)) {}

Tensor MirnetV2::Up::operator()(const Tensor& x) const {
  return resize(conv(x), 2 * x.size(1), 2 * x.size(2));
}

MirnetV2::Block::Block(Module& parent, std::string name, const Widths& widths, int64_t groups)
    : Module(parent, std::move(name)),
      top(*this, "dau_top", widths.top, groups),
      mid(*this, "dau_mid", widths.mid, groups),
      bot(*this, "dau_bot", widths.bot, groups),
      down2(*this, "down2", widths.top, widths.mid),
      down4_0(*this, "down4.0", widths.top, widths.mid),
      down4_1(*this, "down4.1", widths.mid, widths.bot),
      up21_1(*this, "up21_1", widths.mid, widths.top),
      up21_2(*this, "up21_2", widths.mid, widths.top),
      up32_1(*this, "up32_1", widths.bot, widths.mid),
      up32_2(*this, "up32_2", widths.bot, widths.mid),
      conv_out(*this, "conv_out", plain(widths.top, widths.top, 1)),
      skff_top(*this, "skff_top", widths.top),
      skff_mid(*this, "skff_mid", widths.mid) {}

Tensor MirnetV2::Block::operator()(const Tensor& x) const {
  Tensor a = top(x), b = chain(x, down2, mid), c = chain(x, down4_0, down4_1, bot);
  b = skff_mid(b, up32_1(c));
  a = skff_top(a, up21_1(b));
  a = top(a);
  b = mid(b);
  c = bot(c);
  b = skff_mid(b, up32_2(c));
  a = skff_top(a, up21_2(b));
  b = c = {};
  return conv_out.onto(x, a);
}

MirnetV2::Group::Group(Module& parent, std::string name, const Widths& widths, int64_t groups)
    : Module(parent, std::move(name)),
      block0(*this, "body.0", widths, groups),
      block1(*this, "body.1", widths, groups),
      conv(*this, "body.2", plain(widths.top, widths.top, 3)) {}

Tensor MirnetV2::Group::operator()(const Tensor& x, bool recompute) const {
  Tensor f = x;
  for (const Block* const block : {&block0, &block1})
    f = recompute_if(recompute, [block](const Tensors& in) { return (*block)(in[0]); }, {f});
  return conv.onto(x, f);
}

MirnetV2::MirnetV2(int64_t width, size_t count)
    : conv_in(*this, "conv_in", plain(3, width, 3)), conv_out(*this, "conv_out", plain(width, 3, 3)) {
  constexpr std::array<int64_t, 4> kGroups = {1, 2, 4, 4};
  for (size_t g = 0; g < std::min(count, kGroups.size()); ++g)
    body.emplace_back(*this, cat("body.", g), Widths{width, width * 3 / 2, width * 9 / 4}, kGroups[g]);
}

void MirnetV2::init_(const Generator& generator) { init_fan_in_uniform_(*this, generator); }

Tensor MirnetV2::forward(const Tensor& x) const {
  Tensor f = conv_in(x);  // [N, H, W, 80]
  for (const Group& group : body) f = group(f, recompute());
  return x + conv_out(f);
}

}  // namespace lux
