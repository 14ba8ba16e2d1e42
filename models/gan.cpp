#include "luxgrad/models/gan.h"

#include <algorithm>

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/dropout.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

constexpr int64_t kWidth = 256;  // of a block
constexpr int kBlocks = 6;
constexpr double kSlope = 0.2;

// `same` of TensorFlow: for an even size the generator's kernel of 3 sees a zero behind the picture only.
Conv2dSpec strided(int64_t in, int64_t out) { return {in, out, 3, {.stride = 2, .padding = {0, 1, 0, 1}}}; }

// The discriminator's kernel of 4 sees a second one behind an odd size.
Tensor halved(const Conv2d& conv, const Tensors& x) {
  const int64_t below = 1 + x[0].size(1) % 2, beside = 1 + x[0].size(2) % 2;
  return conv2d(x, conv.weight, conv.bias, {.stride = 2, .padding = {1, below, 1, beside}});
}

// A kernel of 4 at stride 1.
Conv2dSpec patch(int64_t in, int64_t out, Activation activation = Activation::none) {
  return {in, out, 4, {.padding = {1, 2, 1, 2}, .activation = activation}};
}

Tensor rectified(const Tensor& x) { return leaky_relu(x, kSlope); }

Tensor doubled(const Tensor& x) {
  return resize(x, 2 * x.size(1), 2 * x.size(2), {.mode = ResizeOptions::nearest});
}

// As Keras' array_to_img does with `scale`. A picture of one value becomes black.
Tensor stretched(const Tensor& y) {
  const std::vector<double> values = y.to_vector();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *high > *low ? (y - *low) * (1 / (*high - *low)) : y - *low;
}

}  // namespace

Gan::Unit::Unit(Module& parent, std::string name, const Conv2dSpec& spec, int64_t normalized)
    : Module(parent, std::move(name)), conv(*this, "conv", spec), bn(*this, "bn", normalized) {}

Gan::Block::Block(Module& parent, std::string name, int64_t in)
    : Module(parent, std::move(name)),
      conv_a(*this, "conv_a", same_conv(in, kWidth, 3)),
      bn_a(*this, "bn_a", kWidth),
      conv_b(*this, "conv_b", same_conv(kWidth, kWidth, 3)),
      bn_b(*this, "bn_b", kWidth) {}

Tensor Gan::Block::operator()(const Tensors& g, const BatchNormMode& mode) const {
  return bn_b(conv_b(rectified(bn_a(conv_a(g), mode))), mode);
}

Gan::GeneratorNet::GeneratorNet(Module& parent)
    : Module(parent, "generator"),
      enc1(*this, "enc1", same_conv(3, 64, 7), 64),
      enc2(*this, "enc2", strided(64, 128), 128),
      enc3(*this, "enc3", strided(128, kWidth), kWidth),
      up1(*this, "up1", same_conv((kBlocks + 1) * kWidth, 128, 1), 256),
      up2(*this, "up2", same_conv(256, 64, 1), 128),
      out(*this, "out", same_conv(128, 3, 7), 3) {
  for (int b = 1; b <= kBlocks; ++b) blocks.emplace_back(*this, cat("block", b), b * kWidth);
}

Tensor Gan::GeneratorNet::operator()(const Tensor& x, const Pass& pass) const {
  const BatchNormMode& mode = pass.norm;
  const auto encoded = [&](const Unit& unit, const Tensor& from) {
    return rectified(unit.bn(unit.conv(from), mode));
  };
  // A pointwise convolution and a repetition of pixels change places: the convolution sees a quarter of them.
  const auto decoded = [&](const Unit& unit, const Tensors& from, const Tensor& skip, uint64_t layer) {
    Tensor f = doubled(unit.conv(from));
    if (pass.dropout > 0) f = dropout(f, pass.dropout, pass.dropout_key * 2 + layer);
    return rectified(unit.bn(concat({f, skip}, 3), mode));
  };
  const Tensor e1 = encoded(enc1, x), e2 = encoded(enc2, e1);
  Tensors g = {encoded(enc3, e2)};
  for (const Block& block : blocks) g.insert(g.begin(), block(g, mode));
  const Tensor u = decoded(up2, {decoded(up1, g, e2, 0)}, e1, 1);
  return tanh(out.bn(out.conv(u), mode));
}

Gan::DiscriminatorNet::DiscriminatorNet(Module& parent)
    : Module(parent, "discriminator"),
      conv1(*this, "conv1", {6, 64, 4}),
      conv2(*this, "conv2", {64, 128, 4}),
      conv3(*this, "conv3", {128, 256, 4}),
      conv4(*this, "conv4", {256, 512, 4}),
      conv5(*this, "conv5", patch(512, 512)),
      conv_out(*this, "conv_out", patch(512, 1, Activation::sigmoid)),
      bn2(*this, "bn2", 128),
      bn3(*this, "bn3", 256),
      bn4(*this, "bn4", 512),
      bn5(*this, "bn5", 512) {}

Tensor Gan::DiscriminatorNet::operator()(const Tensor& source, const Tensor& target,
                                         const BatchNormMode& mode) const {
  Tensor f = rectified(halved(conv1, {source, target}));
  f = rectified(bn2(halved(conv2, {f}), mode));
  f = rectified(bn3(halved(conv3, {f}), mode));
  f = rectified(bn4(halved(conv4, {f}), mode));
  f = rectified(bn5(conv5(f), mode));
  return conv_out(f);
}

Gan::Gan() = default;

void Gan::init_(const Generator& generator) { init_normal_(*this, 0.02, generator, FirstBias::zero); }

Tensor Gan::enhance(const Tensor& x, double strength) const {
  const Pass pass{{inference_.statistics}, inference_.dropout, inference_.seed};
  Tensor y = (generator(2.0 * x - 1.0, pass) + 1.0) * 0.5;
  if (inference_.stretch) y = stretched(y);
  return strength == 1 ? y : x + strength * (y - x);
}

}  // namespace lux
