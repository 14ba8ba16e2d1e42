#include "luxgrad/losses/reference_guided.h"

#include <limits>

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/hsv.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/losses/pixel.h"

namespace lux {
namespace {

// (z - mean) / standard deviation, both over all elements of the batch.
Tensor normalized(const Tensor& z) {
  const Tensor centered = z - mean(z);
  return centered / sqrt(mean(square(centered)));
}

// 1 - cosine of the angle between two maps [N, H, W, 1], mean over the pictures.
Tensor cosine_distance(const Tensor& a, const Tensor& b) {
  constexpr double kLeast = 1e-12, kMost = std::numeric_limits<double>::infinity();
  const auto unit = [](const Tensor& x) {
    return x / sqrt(clamp(sum(square(x), {1, 2}, true), kLeast, kMost));
  };
  return 1.0 - mean(sum(unit(a) * unit(b), {1, 2}, true));
}

}  // namespace

ReferenceGuidedLoss reference_guided_loss(const ReferenceGuidedPass& pass,
                                          const ReferenceGuidedLossOptions& options) {
  const int64_t luminance = options.luminance, content = pass.low_features.size(1) - luminance;
  const auto luminance_of = [&](const Tensor& features) {
    return normalized(narrow(features, 1, 0, luminance));
  };
  const auto content_of = [&](const Tensor& features) { return narrow(features, 1, luminance, content); };
  ReferenceGuidedLoss loss;
  loss.rest = options.huber ? huber_loss(pass.enhanced, pass.high) : l1_loss(pass.enhanced, pass.high);

  const Tensor own = luminance_of(pass.enhanced_features);
  loss.distance_to_reference = mse_loss(luminance_of(pass.high_features), own);
  loss.distance_to_low = mse_loss(luminance_of(pass.low_features), own);
  loss.lum = relu(loss.distance_to_reference - loss.distance_to_low + options.margin);
  loss.con = mse_loss(content_of(pass.low_features), content_of(pass.enhanced_features));

  Tensor before = rgb_to_hsv(pass.low), after = rgb_to_hsv(pass.enhanced);
  if (!options.hsv_gradient) {
    before = before.detach();
    after = after.detach();
  }
  const auto channel = [](const Tensor& hsv, int64_t index) { return narrow(hsv, 3, index, 1); };
  loss.hue = cosine_distance(channel(before, 0), channel(after, 0));
  loss.saturation = cosine_distance(channel(before, 1), channel(after, 1));
  loss.cont = (loss.hue + loss.saturation) * 0.5;

  loss.total = loss.rest + options.features * (loss.lum + loss.con) + options.colors * loss.cont;
  return loss;
}

}  // namespace lux
