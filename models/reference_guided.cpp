#include "luxgrad/models/reference_guided.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/expand.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

Conv2dSpec conv3x3(int64_t in, int64_t out) { return same_conv(in, out, 3, Activation::leaky_relu, 0.2); }

// `same` pooling of TensorFlow: the last row or column of an odd size makes a window of its own.
Tensor halved(const Tensor& x) { return max_pool2d(x, {.ceil_mode = true}); }

// g [N, C] for every pixel of `like`.
Tensor spread(const Tensor& g, const Tensor& like) {
  return expand_as(reshape(g, {g.size(0), 1, 1, g.size(1)}), like);
}

}  // namespace

Tensor ReferenceGuided::Encoding::luminance() const { return narrow(features, 1, 0, kLuminance); }
Tensor ReferenceGuided::Encoding::content() const {
  return narrow(features, 1, kLuminance, kFeatures - kLuminance);
}

ReferenceGuided::Encoder::Encoder(Module& parent)
    : Module(parent, "encoder"),
      conv1_1(*this, "conv1_1", conv3x3(3, 32)),
      conv1_2(*this, "conv1_2", conv3x3(32, 32)),
      conv2_1(*this, "conv2_1", conv3x3(32, 64)),
      conv2_2(*this, "conv2_2", conv3x3(64, 64)),
      conv3_1(*this, "conv3_1", conv3x3(64, 128)),
      conv3_2(*this, "conv3_2", conv3x3(128, 128)),
      conv4_1(*this, "conv4_1", conv3x3(128, 256)),
      conv4_2(*this, "conv4_2", conv3x3(256, 256)),
      conv5_1(*this, "conv5_1", conv3x3(256, kFeatures)) {}

ReferenceGuided::Decoder::Decoder(Module& parent, bool deconv_bias)
    : Module(parent, "decoder"),
      dense(*this, "dense", kFeatures, 256),
      conv6_1(*this, "conv6_1", conv3x3(512, 256)),
      conv6_2(*this, "conv6_2", conv3x3(256, 256)),
      up7(*this, "up7", {256, 128, 2, {}, deconv_bias}),
      conv7_1(*this, "conv7_1", conv3x3(256, 128)),
      conv7_2(*this, "conv7_2", conv3x3(128, 128)),
      up8(*this, "up8", {128, 64, 2, {}, deconv_bias}),
      conv8_1(*this, "conv8_1", conv3x3(128, 64)),
      conv8_2(*this, "conv8_2", conv3x3(64, 64)),
      up9(*this, "up9", {64, 32, 2, {}, deconv_bias}),
      conv9_1(*this, "conv9_1", conv3x3(64, 32)),
      conv9_2(*this, "conv9_2", conv3x3(32, 32)),
      conv10(*this, "conv10", same_conv(32, 3, 1, Activation::sigmoid)) {}

void ReferenceGuided::init_(const Generator& generator) { init_glorot_uniform_(*this, generator); }

ReferenceGuided::Encoding ReferenceGuided::encode(const Tensor& x) const {
  const Encoder& e = encoder;
  Encoding out;
  out.c1 = e.conv1_2(e.conv1_1(x));
  out.c2 = e.conv2_2(e.conv2_1(halved(out.c1)));
  out.c3 = e.conv3_2(e.conv3_1(halved(out.c2)));
  out.c4 = e.conv4_2(e.conv4_1(halved(out.c3)));
  out.features = mean(e.conv5_1(halved(out.c4)), {1, 2});
  return out;
}

Tensor ReferenceGuided::decode(const Encoding& low, const Tensor& luminance) const {
  const Decoder& d = decoder;
  const Tensor g = relu(d.dense(concat({luminance, low.content()}, 1)));
  Tensor f = d.conv6_2(d.conv6_1({low.c4, spread(g, low.c4)}));
  f = d.conv7_2(d.conv7_1({crop_as(d.up7(f), low.c3), low.c3}));
  f = d.conv8_2(d.conv8_1({crop_as(d.up8(f), low.c2), low.c2}));
  f = d.conv9_2(d.conv9_1({crop_as(d.up9(f), low.c1), low.c1}));
  return d.conv10(f);
}

Tensor ReferenceGuided::look_of(const Tensor& reference) const {
  const NoGrad no_grad;
  return encode(reference).luminance();
}

void ReferenceGuided::set_looks(Tensors looks) {
  for (const Tensor& look : looks) {
    check(look.shape() == Shape{1, kLuminance}, "reference_guided: expected looks [1, ", kLuminance,
          "], got ", look.shape());
  }
  looks_ = std::move(looks);
}

Tensor ReferenceGuided::neutral_look(const Tensor& x) const {
  constexpr double kMiddle = 0.45, kDarkest = 1e-3;
  const Tensor brightness = mean(mean(x, {1, 2}, true), {3}, true);  // [N, 1, 1, 1]
  const Tensor gamma = clamp(std::log(kMiddle) / log(clamp(brightness, kDarkest, 1 - kDarkest)), 0, 1);
  return look_of(exp(gamma * log(clamp(x, 1e-6, 1))));
}

Tensor ReferenceGuided::enhance(const Tensor& x, double strength) const {
  const Encoding low = encode(x);
  const Tensor own = low.luminance();
  const Tensors looks = looks_.empty() ? Tensors{neutral_look(x)} : looks_;
  Tensor sum;
  for (const Tensor& look : looks) {
    // Pictures of a batch share a look that was set.
    const Tensor wanted = look.size(0) == own.size(0) ? look : look + zeros(own.shape(), own.options());
    const Tensor y = decode(low, strength == 1 ? wanted : own + strength * (wanted - own));
    sum = sum.defined() ? sum + y : y;
  }
  return looks.size() == 1 ? sum : sum * (1.0 / static_cast<double>(looks.size()));
}

}  // namespace lux
