// MIRNet (Zamir et al., ECCV 2020, arXiv:2003.06792) in the variant of the Keras example for low-light
// photos.
//
// The plan is that of mirnet_v1.h, with other parts: every convolution has a bias, relu is the activation,
// sizes change by max-pooling and repetition, the softmax of a fusion runs over the channels of each stream,
// and nothing is shared: each use of a unit has weights of its own.
//
//     l1 = x    l2 = down · l1    l3 = down · l2    d_k = dau · l_k
//     s_j = skff_j(d1, d2, d3 at resolution j)
//     e_1 = dau · s_1    e_2 = up(dau · s_2)    e_3 = up(up(dau · s_3))
//     block(x) = x + conv_out · skff(e_1, e_2, e_3)
//     group(x) = x + conv_out · block(block(conv_in · x))
//
// 44,157,007 parameters. The example of 2021 fuses e_3 twice and never uses e_2 (`compat` = 2021; 36,351,613
// parameters), and pools channels in another order.
#pragma once

#include <deque>
#include <optional>

#include "luxgrad/layers/conv2d.h"
#include "luxgrad/models/restorer.h"

namespace lux {

class MirnetKeras final : public Restorer {
 public:
  enum class Compat { y2021, y2023 };

  /// `width` channels in the finest stream, a multiple of 8; so many groups.
  explicit MirnetKeras(Compat compat = Compat::y2023, int64_t width = 64, int count = 3);

  std::string name() const override { return "mirnet_keras"; }
  ModelConfig config() const override { return {{"compat", compat_ == Compat::y2021 ? "2021" : "2023"}}; }
  ModelTraits traits() const override { return {.size_multiple = 4, .global = true, .blocks = true}; }
  void init_(const Generator& generator) override;

  /// x [N, H, W, 3], H and W multiples of 4 -> the same shape, not clamped.
  Tensor forward(const Tensor& x) const override;

  /// Dual attention unit: channel and spatial attention side by side.
  struct Dau : Module {
    Dau(Module& parent, std::string name, int64_t channels, Compat compat);
    Tensor operator()(const Tensor& x) const;
    Compat compat;
    Conv2d conv1, conv2, ca1, ca2, sa, conv_out;
  };
  /// Fusion of three streams.
  struct Skff : Module {
    Skff(Module& parent, std::string name, int64_t channels);
    Tensor operator()(const Tensor& a, const Tensor& b, const Tensor& c) const;
    Conv2d squeeze, excite1, excite2, excite3;
  };
  /// Half the size and twice the channels, or the other way round.
  struct Scale : Module {
    enum Direction { down, up };
    Scale(Module& parent, std::string name, Direction direction, int64_t in);
    Tensor operator()(const Tensor& x) const;
    Direction direction;
    Conv2d main1, main2, main3, skip;
  };
  /// What makes e_2 of a block; the example of 2021 has none of it.
  struct LevelTwo {
    LevelTwo(Module& block, int64_t width, Compat compat);
    Tensor operator()(const Tensor& d1, const Tensor& d2, const Tensor& d3) const;
    Scale down1, up3;
    Skff skff;
    Dau dau;
    Scale up;
  };
  /// Multi-scale residual block.
  struct Block : Module {
    Block(Module& parent, std::string name, int64_t width, Compat compat);
    Tensor operator()(const Tensor& x) const;
    Scale down2, down3;
    Dau dau_a1, dau_a2, dau_a3;
    Scale skff1_up2, skff1_up3a, skff1_up3b;
    Skff skff1;
    Scale skff3_down1a, skff3_down1b, skff3_down2;
    Skff skff3;
    Dau dau_b1, dau_b3;
    Scale fuse_up3a, fuse_up3b;
    Skff fuse;
    Conv2d conv_out;
    std::optional<LevelTwo> level2;
  };
  struct Group : Module {
    Group(Module& parent, std::string name, int64_t width, Compat compat);
    Tensor operator()(const Tensor& x, bool recompute) const;
    Conv2d conv_in;
    Block block0, block1;
    Conv2d conv_out;
  };

  Conv2d conv_in;
  std::deque<Group> groups;
  Conv2d conv_out;

 private:
  Compat compat_;
};

}  // namespace lux
