#include "luxgrad/losses/reference_guided.h"

#include <limits>

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/hsv.h"
#include "luxgrad/kernels/hsv_distance.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/losses/pixel.h"

namespace lux {
namespace {

Tensor at_least(const Tensor& x, double least) {
  return clamp(x, least, std::numeric_limits<double>::infinity());
}

// (z - mean) / standard deviation, both over all elements of the batch. Where all are equal it is 0, and so
// is its slope.
Tensor normalized(const Tensor& z) {
  constexpr double kLeast = 1e-37;  // the square of what is no deviation at all
  const Tensor centered = z - mean(z);
  return centered / sqrt(at_least(mean(square(centered)), kLeast));
}

// The same for each row of z [N, L], as torch.nn.InstanceNorm1d has it.
Tensor normalized_by_picture(const Tensor& z) {
  constexpr double kEps = 1e-5;
  const Tensor centered = z - mean(z, {1}, true);
  return centered / sqrt(mean(square(centered), {1}, true) + kEps);
}

}  // namespace

Tensor cosine_distance(const Tensor& x, const Tensor& y) {
  check(x.shape() == y.shape() && x.shape().rank() == 4,
        "cosine_distance: expected two equal shapes [N, H, W, C], got ", x.shape(), " and ", y.shape());
  const auto unit = [](const Tensor& map) {
    return map / sqrt(at_least(sum(square(map), {1, 2}, true), kLeastSquares));
  };
  return 1.0 - sum(unit(x) * unit(y)) / static_cast<double>(x.size(0) * x.size(3));
}

HsvDistance hsv_distance(const Tensor& x, const Tensor& y) {
  if (const Tensor fused = fused_hsv_distance(x, y); fused.defined()) {
    const auto of = [&](int64_t i) { return reshape(narrow(fused, 0, i, 1), {}); };
    return {of(0), of(1)};
  }
  const Tensor before = rgb_to_hsv(x), after = rgb_to_hsv(y);
  const auto of = [&](int64_t i) { return cosine_distance(narrow(before, 3, i, 1), narrow(after, 3, i, 1)); };
  return {of(0), of(1)};
}

Tensor triplet_hinge(const Tensor& to_positive, const Tensor& to_negative, double margin) {
  return relu(to_positive - to_negative + margin);
}

ReferenceGuidedLoss reference_guided_loss(const ReferenceGuidedPass& pass,
                                          const ReferenceGuidedLossOptions& options) {
  const int64_t luminance = options.luminance, content = pass.low_features.size(1) - luminance;
  const auto luminance_of = [&](const Tensor& features) {
    const Tensor own = narrow(features, 1, 0, luminance);
    return options.instance_norm ? normalized_by_picture(own) : normalized(own);
  };
  const auto content_of = [&](const Tensor& features) { return narrow(features, 1, luminance, content); };
  ReferenceGuidedLoss loss;
  loss.rest = options.huber ? huber_loss(pass.enhanced, pass.high) : l1_loss(pass.enhanced, pass.high);

  const Tensor own = luminance_of(pass.enhanced_features);
  loss.distance_to_reference = mse_loss(luminance_of(pass.high_features), own);
  loss.distance_to_low = mse_loss(luminance_of(pass.low_features), own);
  loss.lum = triplet_hinge(loss.distance_to_reference, loss.distance_to_low, options.margin);
  loss.con = mse_loss(content_of(pass.low_features), content_of(pass.enhanced_features));

  const HsvDistance colors = options.hsv_gradient ? hsv_distance(pass.low, pass.enhanced)
                                                  : hsv_distance(pass.low.detach(), pass.enhanced.detach());
  loss.hue = colors.hue;
  loss.saturation = colors.saturation;
  loss.cont = (loss.hue + loss.saturation) * 0.5;

  loss.total = loss.rest + options.features * (loss.lum + loss.con) + options.colors * loss.cont;
  return loss;
}

}  // namespace lux
