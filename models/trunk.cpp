#include "luxgrad/models/trunk.h"

#include "luxgrad/kernels/pool2d.h"

namespace lux {
namespace {

constexpr TrunkConv kAlexnet[] = {{3, 64, 11, 4, 2, 0, true, 0},
                                  {64, 192, 5, 1, 2, 3, true, 3},
                                  {192, 384, 3, 1, 1, 3, true, 6},
                                  {384, 256, 3, 1, 1, 0, true, 8},
                                  {256, 256, 3, 1, 1, 0, true, 10}};

constexpr TrunkConv three_by_three(int64_t in, int64_t out, int64_t pool, bool tap, int64_t place) {
  return {in, out, 3, 1, 1, pool, tap, place};
}
constexpr TrunkConv kVgg16[] = {
    three_by_three(3, 64, 0, false, 0),     three_by_three(64, 64, 0, true, 2),
    three_by_three(64, 128, 2, false, 5),   three_by_three(128, 128, 0, true, 7),
    three_by_three(128, 256, 2, false, 10), three_by_three(256, 256, 0, false, 12),
    three_by_three(256, 256, 0, true, 14),  three_by_three(256, 512, 2, false, 17),
    three_by_three(512, 512, 0, false, 19), three_by_three(512, 512, 0, true, 21),
    three_by_three(512, 512, 2, false, 24), three_by_three(512, 512, 0, false, 26),
    three_by_three(512, 512, 0, true, 28)};

}  // namespace

std::span<const TrunkConv> alexnet_convs() { return kAlexnet; }
std::span<const TrunkConv> vgg16_convs() { return kVgg16; }

Trunk::Trunk(std::span<const TrunkConv> convs) : convs_(convs) {
  for (const TrunkConv& conv : convs) {
    features.emplace_back(
        *this, cat("features.", conv.place),
        Conv2dSpec{conv.in,
                   conv.out,
                   conv.kernel_size,
                   {.stride = conv.stride, .padding = conv.padding, .activation = Activation::relu}});
  }
  requires_grad_(false);
}

Tensors Trunk::maps(Tensor x) const {
  Tensors taps;
  for (size_t i = 0; i < features.size(); ++i) {
    const TrunkConv& conv = convs_[i];
    if (conv.pool > 0) x = max_pool2d(x, {.kernel_size = conv.pool, .stride = 2});
    x = features[i](x);
    if (conv.tap) taps.push_back(x);
  }
  return taps;
}

}  // namespace lux
