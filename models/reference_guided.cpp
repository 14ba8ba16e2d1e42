#include "luxgrad/models/reference_guided.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/recompute.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/expand.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/layers/chain.h"
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

Tensor ReferenceGuided::Encoding::luminance() const { return narrow(features, 1, 0, lum_dim); }
Tensor ReferenceGuided::Encoding::content() const {
  return narrow(features, 1, lum_dim, kFeatures - lum_dim);
}

ReferenceGuided::Encoder::Encoder(Module& parent, int64_t width, bool conv5_act)
    : Module(parent, "encoder"),
      conv1_1(*this, "conv1_1", conv3x3(3, width)),
      conv1_2(*this, "conv1_2", conv3x3(width, width)),
      conv2_1(*this, "conv2_1", conv3x3(width, 2 * width)),
      conv2_2(*this, "conv2_2", conv3x3(2 * width, 2 * width)),
      conv3_1(*this, "conv3_1", conv3x3(2 * width, 4 * width)),
      conv3_2(*this, "conv3_2", conv3x3(4 * width, 4 * width)),
      conv4_1(*this, "conv4_1", conv3x3(4 * width, 8 * width)),
      conv4_2(*this, "conv4_2", conv3x3(8 * width, 8 * width)),
      conv5_1(*this, "conv5_1",
              conv5_act ? conv3x3(8 * width, kFeatures) : same_conv(8 * width, kFeatures, 3)) {}

ReferenceGuided::Decoder::Decoder(Module& parent, int64_t width, int64_t sources, bool deconv_bias)
    : Module(parent, "decoder"),
      dense(*this, "dense", kFeatures, 8 * width),
      conv6_1(*this, "conv6_1", conv3x3(sources * 8 * width, 8 * width)),
      conv6_2(*this, "conv6_2", conv3x3(8 * width, 8 * width)),
      up7(*this, "up7", {8 * width, 4 * width, 2, {}, deconv_bias}),
      conv7_1(*this, "conv7_1", conv3x3(sources * 4 * width, 4 * width)),
      conv7_2(*this, "conv7_2", conv3x3(4 * width, 4 * width)),
      up8(*this, "up8", {4 * width, 2 * width, 2, {}, deconv_bias}),
      conv8_1(*this, "conv8_1", conv3x3(sources * 2 * width, 2 * width)),
      conv8_2(*this, "conv8_2", conv3x3(2 * width, 2 * width)),
      up9(*this, "up9", {2 * width, width, 2, {}, deconv_bias}),
      conv9_1(*this, "conv9_1", conv3x3(sources * width, width)),
      conv9_2(*this, "conv9_2", conv3x3(width, width)),
      conv10(*this, "conv10", same_conv(width, 3, 1, Activation::sigmoid)) {}

ReferenceGuided::ReferenceGuided(const ReferenceGuidedOptions& options)
    : encoder(*this, options.width, options.conv5_act),
      decoder(*this, options.width, options.skip ? 2 : 1, options.deconv_bias),
      options_(options) {
  check(options.lum_dim > 0 && options.lum_dim < kFeatures, "reference_guided: expected lum_dim from 1 to ",
        kFeatures - 1, ", got ", options.lum_dim);
}

ModelConfig ReferenceGuided::config() const {
  const auto text = [](bool value) { return value ? "true" : "false"; };
  return {{"deconv_bias", text(options_.deconv_bias)},
          {"conv5_act", text(options_.conv5_act)},
          {"lum_dim", std::to_string(options_.lum_dim)},
          {"norm", options_.instance_norm ? "instance" : "batch"},
          {"skip", text(options_.skip)}};
}

void ReferenceGuided::init_(const Generator& generator) { init_glorot_uniform_(*this, generator); }

ReferenceGuided::Encoding ReferenceGuided::encode(Tensor x) const {
  const Encoder& e = encoder;
  const auto twice = [&](const Conv2d& first, const Conv2d& second, Tensor map) {
    const auto run = [&first, &second](Tensors in) {
      in = {first(in)};
      return second(in);
    };
    return recompute_if(recompute(), run, handed_over(std::move(map)));
  };
  Encoding out;
  out.lum_dim = options_.lum_dim;
  out.c1 = twice(e.conv1_1, e.conv1_2, std::move(x));
  out.c2 = twice(e.conv2_1, e.conv2_2, halved(out.c1));
  out.c3 = twice(e.conv3_1, e.conv3_2, halved(out.c2));
  out.c4 = twice(e.conv4_1, e.conv4_2, halved(out.c3));
  out.features = mean(e.conv5_1(halved(out.c4)), {1, 2});
  return out;
}

// Maps are given away where they are read for the last time.
Tensor ReferenceGuided::decode(Encoding low, const Tensor& luminance) const {
  const Decoder& d = decoder;
  const auto level = [&](const Conv2d& first, const Conv2d& second, Tensors maps) {
    const auto draw = [&first, &second](Tensors in) {
      in = {first(in)};
      return second(in);
    };
    return recompute_if(recompute(), draw, std::move(maps));
  };
  const auto level_up = [&](const ConvTranspose2d& up, const Conv2d& first, const Conv2d& second,
                            Tensors maps) {
    const auto draw = [&up, &first, &second, skip = options_.skip](Tensors in) {
      in[0] = crop_as(up(in[0]), in[1]);
      if (!skip) in.pop_back();
      in = {first(in)};
      return second(in);
    };
    return recompute_if(recompute(), draw, std::move(maps));
  };
  const Tensor g = relu(d.dense(concat({luminance, low.content()}, 1)));
  Tensors wide{spread(g, low.c4)};
  if (options_.skip) wide.insert(wide.begin(), std::move(low.c4));
  Tensor f = level(d.conv6_1, d.conv6_2, std::move(wide));
  f = level_up(d.up7, d.conv7_1, d.conv7_2, handed_over(std::move(f), std::move(low.c3)));
  f = level_up(d.up8, d.conv8_1, d.conv8_2, handed_over(std::move(f), std::move(low.c2)));
  f = level_up(d.up9, d.conv9_1, d.conv9_2, handed_over(std::move(f), std::move(low.c1)));
  return d.conv10(f);
}

Tensor ReferenceGuided::look_of(Tensor reference) const {
  const NoGrad no_grad;
  reference = reference.to(device()).to(dtype());
  return encode(std::move(reference)).luminance();
}

void ReferenceGuided::set_looks(Tensors looks) {
  for (const Tensor& look : looks) {
    check(look.shape() == Shape{1, options_.lum_dim}, "reference_guided: expected looks [1, ",
          options_.lum_dim, "], got ", look.shape());
  }
  looks_ = std::move(looks);
  graphs().clear();  // which read those of before
}

Tensor ReferenceGuided::neutral_look(const Tensor& x) const {
  constexpr double kMiddle = 0.45, kDarkest = 1e-3;
  const Tensor brightness = mean(mean(x, {1, 2}, true), {3}, true);  // [N, 1, 1, 1]
  const Tensor gamma = clamp(std::log(kMiddle) / log(clamp(brightness, kDarkest, 1 - kDarkest)), 0, 1);
  Tensor lit = clamp(x, 1e-6, 1);
  lit = log(lit);
  lit = gamma * lit;
  lit = exp(lit);
  return look_of(std::move(lit));
}

Tensor ReferenceGuided::enhance(const Tensor& x, double strength) const {
  const Tensors looks = looks_.empty() ? Tensors{neutral_look(x)} : looks_;
  Encoding low = encode(x);
  const Tensor own = low.luminance();
  Tensor sum;
  for (size_t i = 0; i < looks.size(); ++i) {
    const Tensor look = looks[i].to(device()).to(own.dtype());
    // Pictures of a batch share a look that was set.
    const Tensor wanted = look.size(0) == own.size(0) ? look : look + zeros(own.shape(), own.options());
    const bool last = i + 1 == looks.size();  // and gives its features away
    const Tensor y =
        decode(last ? std::exchange(low, {}) : low, strength == 1 ? wanted : own + strength * (wanted - own));
    sum = sum.defined() ? sum + y : y;
  }
  return looks.size() == 1 ? sum : sum * (1.0 / static_cast<double>(looks.size()));
}

}  // namespace lux
