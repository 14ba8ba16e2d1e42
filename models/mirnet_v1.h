// Learning Enriched Features for Real Image Restoration and Enhancement (Zamir et al., ECCV 2020,
// arXiv:2003.06792): MIRNet, as its authors' code has it.
//
// Three groups of two multi-scale blocks. A block keeps three streams of 64, 128 and 256 channels at full,
// half and quarter resolution. Dual attention units (Sec. 3.3) refine them, selective kernels (Sec. 3.2)
// exchange between all of them, residual resizing modules (Sec. 3.4) lead from one resolution to another:
//
//     d1 = dau1 · x    d2 = dau2 · down(d1)    d3 = dau3 · down(d2)
//     s_j = skff_j(d1, d2, d3 at resolution j)    e_j = dau_j · s_j, the same units again
//     block(x) = conv_out · skff_1(e1, up(e2), up(up(e3))) + x, the same skff_1 again
//     group(x) = conv · block(block(x)) + x    y = x + conv_out · groups(conv_in · x)
//
// Convolutions have no bias. All attention units of the network share one slope. 31,787,419 parameters. Names
// are those of the authors' checkpoint; what it stores several times is stored once, under its first name.
#pragma once

#include <array>
#include <deque>

#include "luxgrad/layers/conv2d.h"
#include "luxgrad/layers/conv_transpose2d.h"
#include "luxgrad/layers/prelu.h"
#include "luxgrad/models/restorer.h"

namespace lux {

class MirnetV1 final : public Restorer {
 public:
  /// `width` channels in the finest stream, a multiple of 8; so many groups.
  explicit MirnetV1(int64_t width = 64, int groups = 3);

  std::string name() const override { return "mirnet_v1"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override { return {.size_multiple = 4, .global = true, .blocks = true}; }
  void init_(const Generator& generator) override;

  /// x [N, H, W, 3], H and W multiples of 4 -> the same shape, not clamped.
  Tensor forward(const Tensor& x) const override;

  /// Dual attention unit: spatial and channel attention side by side.
  struct Dau : Module {
    Dau(Module& parent, std::string name, int64_t channels, const PRelu& slope);
    Tensor operator()(const Tensor& x) const;
    const PRelu& slope;
    Conv2d body0, body2, spatial, channel0, channel2, conv;
  };
  /// Fusion of three streams.
  struct Skff : Module {
    Skff(Module& parent, std::string name, int64_t channels);
    Tensor operator()(const Tensors& streams) const;
    Conv2d squeeze;
    PRelu slope;
    Conv2d excite0, excite1, excite2;
  };
  /// Half the size, twice the channels.
  struct Down : Module {
    Down(Module& parent, std::string name, int64_t in);
    Tensor operator()(const Tensor& x) const;
    Conv2d top0;
    PRelu top1;
    Conv2d top2;
    PRelu top3;
    Conv2d top5, bot1;
  };
  /// Twice the size, half the channels.
  struct Up : Module {
    Up(Module& parent, std::string name, int64_t in);
    Tensor operator()(const Tensor& x) const;
    Conv2d top0;
    PRelu top1;
    ConvTranspose2d top2;
    PRelu top3;
    Conv2d top4, bot1;
  };
  /// Multi-scale residual block.
  struct Block : Module {
    Block(Module& parent, std::string name, int64_t width, const PRelu& slope);
    Tensor operator()(const Tensor& x) const;
    Dau dau1, dau2, dau3;
    Up last2, last3a, last3b;
    Down down1a, down1b, down1, down2;
    Up up3a, up3b, up3, up2;
    Conv2d conv_out;
    Skff skff1, skff2, skff3;
  };
  struct Group : Module {
    Group(Module& parent, std::string name, int64_t width, const PRelu& slope);
    Tensor operator()(const Tensor& x, bool recompute) const;
    Block block0, block1;
    Conv2d conv;
  };

  PRelu slope;  ///< of every Dau
  Conv2d conv_in;
  std::deque<Group> body;
  Conv2d conv_out;
};

}  // namespace lux
