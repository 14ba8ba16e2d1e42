// The training objective of reference-guided enhancement (Wang et al., Pattern Recognition 2022,
// arXiv:2101.00813, Sec. 3.3, as in the authors' code): the result should look like the reference, feel as
// bright as the reference, show what the dark picture shows, and keep its hues.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// 1 − cosine of the angle between x and y, of each channel of each picture [N, H, W, C] as a vector of H·W
/// numbers, averaged; a vector shorter than 10⁻⁶ counts as that long, as in TensorFlow. Throws Error for
/// other shapes.
Tensor cosine_distance(const Tensor& x, const Tensor& y);

/// The same of hue and saturation (kernels/hsv.h) of two pictures [N, H, W, 3], each of shape [].
struct HsvDistance {
  Tensor hue, saturation;
};
HsvDistance hsv_distance(const Tensor& x, const Tensor& y);

/// max(to_positive − to_negative + margin, 0), element by element; slope 0 where it is 0.
Tensor triplet_hinge(const Tensor& to_positive, const Tensor& to_negative, double margin);

struct ReferenceGuidedLossOptions {
  double margin = 0.08;  ///< of the triplet of luminances
  double features = 2, colors = 2;
  int64_t luminance = 96;      ///< how many of the features are luminance; the others are content
  bool instance_norm = false;  ///< luminance is normalised picture by picture, with 10⁻⁵ beside the variance
  bool hsv_gradient = true;  ///< false: colours are measured and train nothing, as under TensorFlow 1.14
  bool huber = false;        ///< Huber's distance of the pictures instead of the mean absolute one
};

/// What one forward pass makes: pictures [N, H, W, 3] in [0, 1], features [N, F] of the three.
struct ReferenceGuidedPass {
  Tensor low, high, enhanced;
  Tensor low_features, high_features, enhanced_features;
};

/// Scalars of shape []; total = rest + features · (lum + con) + colors · cont.
struct ReferenceGuidedLoss {
  Tensor total;
  Tensor rest;  ///< mean |enhanced - high|, or Huber's
  Tensor lum;   ///< max(distance_to_reference - distance_to_low + margin, 0)
  Tensor con;   ///< mean square distance of the contents of low and enhanced
  Tensor cont;  ///< mean of hue and saturation
  Tensor distance_to_reference,
      distance_to_low;     ///< of the enhanced picture's luminance, normalised over the batch
  Tensor hue, saturation;  ///< 1 - cosine of low and enhanced, mean over pictures
};

/// Throws Error where shapes do not fit.
ReferenceGuidedLoss reference_guided_loss(const ReferenceGuidedPass& pass,
                                          const ReferenceGuidedLossOptions& options = {});

}  // namespace lux
