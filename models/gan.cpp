#include "luxgrad/models/gan.h"

#include <algorithm>

#include "luxgrad/autograd/recompute.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/dropout.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/layers/chain.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

constexpr int64_t kBlocks = 6;
constexpr double kSlope = 0.2;

// `same` of TensorFlow: for an even size the generator's kernel of 3 sees a zero behind the picture only.
Conv2dSpec strided(int64_t in, int64_t out) { return {in, out, 3, {.stride = 2, .padding = {0, 1, 0, 1}}}; }

// The discriminator's kernel of 4 sees a second one behind an odd size.
Tensor halved(const Conv2d& conv, const Tensors& x) {
  const int64_t below = 1 + x[0].size(1) % 2, beside = 1 + x[0].size(2) % 2;
  return conv2d(x, conv.weight, conv.bias, {.stride = 2, .padding = {1, below, 1, beside}});
}

// A kernel of 4 at stride 1.
Conv2dSpec patch(int64_t in, int64_t out) { return {in, out, 4, {.padding = {1, 2, 1, 2}}}; }

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

Gan::Block::Block(Module& parent, std::string name, int64_t in, int64_t width)
    : Module(parent, std::move(name)),
      conv_a(*this, "conv_a", same_conv(in, width, 3)),
      bn_a(*this, "bn_a", width),
      conv_b(*this, "conv_b", same_conv(width, width, 3)),
      bn_b(*this, "bn_b", width) {}

Tensor Gan::Block::operator()(const Tensors& g, const BatchNormMode& mode) const {
  Tensor f = conv_a(g);
  f = bn_a(f, mode);
  f = chain(std::move(f), rectified, conv_b);
  return bn_b(f, mode);
}

Gan::GeneratorNet::GeneratorNet(Module& parent, int64_t width)
    : Module(parent, "generator"),
      enc1(*this, "enc1", same_conv(3, width, 7), width),
      enc2(*this, "enc2", strided(width, 2 * width), 2 * width),
      enc3(*this, "enc3", strided(2 * width, 4 * width), 4 * width),
      up1(*this, "up1", same_conv((kBlocks + 1) * 4 * width, 2 * width, 1), 4 * width),
      up2(*this, "up2", same_conv(4 * width, width, 1), 2 * width),
      out(*this, "out", same_conv(2 * width, 3, 7), 3) {
  for (int64_t b = 1; b <= kBlocks; ++b)
    blocks.emplace_back(*this, cat("block", b), b * 4 * width, 4 * width);
}

Tensor Gan::GeneratorNet::operator()(Tensor x, const Pass& pass) const {
  const BatchNormMode& mode = pass.norm;
  const auto encoded = [&](const Unit& unit, Tensor from) {
    const auto encode = [&unit, mode](Tensors in) {
      in = {unit.conv(in)};
      in = {unit.bn(in[0], mode)};
      return rectified(in[0]);
    };
    return recompute_if(pass.recompute, encode, handed_over(std::move(from)));
  };
  // A pointwise convolution and a repetition of pixels change places: the convolution sees a quarter of them.
  // The last of the maps is the skip. Maps are given away where they are read for the last time.
  const auto decoded = [&](const Unit& unit, Tensors from, uint64_t layer) {
    const auto decode = [&unit, pass, layer](Tensors in) {
      Tensor skip = std::move(in.back());
      in.pop_back();
      in = {unit.conv(in)};
      in = {doubled(in[0])};
      if (pass.dropout > 0) in = {dropout(in[0], pass.dropout, pass.dropout_key * 2 + layer)};
      in = {concat({in[0], skip}, 3)};
      skip = {};
      in = {unit.bn(in[0], pass.norm)};
      return rectified(in[0]);
    };
    return recompute_if(pass.recompute, decode, std::move(from));
  };
  Tensor e1 = encoded(enc1, std::move(x)), e2 = encoded(enc2, e1);
  Tensors g = {encoded(enc3, e2)};
  for (const Block& block : blocks) {
    const auto run = [&block, mode](const Tensors& in) { return block(in, mode); };
    g.insert(g.begin(), recompute_if(pass.recompute, run, g));
  }
  g.push_back(std::move(e2));
  Tensor u = decoded(up1, std::move(g), 0);
  u = decoded(up2, handed_over(std::move(u), std::move(e1)), 1);
  u = out.conv(u);
  return tanh(out.bn(u, mode));
}

Gan::DiscriminatorNet::DiscriminatorNet(Module& parent, int64_t width)
    : Module(parent, "discriminator"),
      conv1(*this, "conv1", {6, width, 4}),
      conv2(*this, "conv2", {width, 2 * width, 4}),
      conv3(*this, "conv3", {2 * width, 4 * width, 4}),
      conv4(*this, "conv4", {4 * width, 8 * width, 4}),
      conv5(*this, "conv5", patch(8 * width, 8 * width)),
      conv_out(*this, "conv_out", patch(8 * width, 1)),
      bn2(*this, "bn2", 2 * width),
      bn3(*this, "bn3", 4 * width),
      bn4(*this, "bn4", 8 * width),
      bn5(*this, "bn5", 8 * width) {}

Tensor Gan::DiscriminatorNet::logits(const Tensor& source, const Tensor& target,
                                     const BatchNormMode& mode) const {
  Tensor f = rectified(halved(conv1, {source, target}));
  f = rectified(bn2(halved(conv2, {f}), mode));
  f = rectified(bn3(halved(conv3, {f}), mode));
  f = rectified(bn4(halved(conv4, {f}), mode));
  f = rectified(bn5(conv5(f), mode));
  return conv_out(f);
}

Tensor Gan::DiscriminatorNet::operator()(const Tensor& source, const Tensor& target,
                                         const BatchNormMode& mode) const {
  return sigmoid(logits(source, target, mode));
}

Gan::Gan(int64_t width) : generator(*this, width), discriminator(*this, width) {}

void Gan::init_(const Generator& generator) { init_normal_(*this, 0.02, generator, FirstBias::zero); }

Tensor Gan::enhance(const Tensor& x, double strength) const {
  const Pass pass{{inference_.statistics}, inference_.dropout, inference_.seed};
  Tensor y = 2.0 * x;
  y = y - 1.0;
  y = generator(std::move(y), pass);
  y = y + 1.0;
  y = y * 0.5;
  if (inference_.stretch) y = stretched(y);
  return strength == 1 ? y : x + strength * (y - x);
}

}  // namespace lux
