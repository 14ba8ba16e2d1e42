// Learning Enriched Features for Fast Image Restoration and Enhancement (Zamir et al., TPAMI 2022,
// arXiv:2205.01649): MIRNet-v2.
//
// Four groups of two multi-scale blocks, each with three streams of 80, 120 and 180 channels at full, half
// and quarter resolution. A stream is refined by a residual contextual block (Sec. 3.2), and streams are
// fused from coarse to fine by selective kernels (Sec. 3.1):
//
//     top, mid, bot = rcb(x), rcb(down2 · x), rcb(down4 · x)
//     mid = skff(mid, up(bot))    top = skff(top, up(mid))    twice, with the same rcb and skff
//     block(x) = conv_out · top + x    group(x) = conv · block(block(x)) + x
//     y = x + conv_out · groups(conv_in · x)
//
// Convolutions have no bias; leaky_relu has slope 0.2. The 3x3 convolutions of group g have 1, 2, 4, 4
// groups. 5,858,560 parameters. Names are those of the authors' checkpoint.
#pragma once

#include <deque>

#include "luxgrad/layers/conv2d.h"
#include "luxgrad/models/restorer.h"

namespace lux {

class MirnetV2 final : public Restorer {
 public:
  /// `width` channels in the finest stream, a multiple of 16; the first `count` groups.
  explicit MirnetV2(int64_t width = 80, size_t count = 4);

  std::string name() const override { return "mirnet_v2"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override { return {.size_multiple = 4, .global = true, .blocks = true}; }
  void init_(const Generator& generator) override;

  /// x [N, H, W, 3], H and W multiples of 4 -> the same shape, not clamped.
  Tensor forward(const Tensor& x) const override;

  /// Channels of the three streams.
  struct Widths {
    int64_t top, mid, bot;
  };
  /// Residual contextual block.
  struct Rcb : Module {
    Rcb(Module& parent, std::string name, int64_t channels, int64_t groups);
    Tensor operator()(const Tensor& x) const;
    Conv2d body0, body2, mask, add0, add2;
  };
  /// Fusion of two streams.
  struct Skff : Module {
    Skff(Module& parent, std::string name, int64_t channels);
    Tensor operator()(const Tensor& fine, const Tensor& coarse) const;
    Conv2d squeeze, fine, coarse;
  };
  /// Half the size by averaging, then one and a half times the channels.
  struct Down : Module {
    Down(Module& parent, std::string name, int64_t in, int64_t out);
    Tensor operator()(const Tensor& x) const;
    Conv2d conv;
  };
  /// Fewer channels, then twice the size by interpolation.
  struct Up : Module {
    Up(Module& parent, std::string name, int64_t in, int64_t out);
    Tensor operator()(const Tensor& x) const;
    Conv2d conv;
  };
  /// Multi-scale residual block.
  struct Block : Module {
    Block(Module& parent, std::string name, const Widths& widths, int64_t groups);
    Tensor operator()(const Tensor& x) const;
    Rcb top, mid, bot;
    Down down2, down4_0, down4_1;
    Up up21_1, up21_2, up32_1, up32_2;
    Conv2d conv_out;
    Skff skff_top, skff_mid;
  };
  struct Group : Module {
    Group(Module& parent, std::string name, const Widths& widths, int64_t groups);
    Tensor operator()(const Tensor& x, bool recompute) const;
    Block block0, block1;
    Conv2d conv;
  };

  Conv2d conv_in;
  std::deque<Group> body;
  Conv2d conv_out;
};

}  // namespace lux
