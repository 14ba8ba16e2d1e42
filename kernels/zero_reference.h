// The curve of Zero-DCE and its four zero-reference losses as one operator, on devices that have kernels for
// it.
#pragma once

#include "luxgrad/kernels/color_constancy.h"
#include "luxgrad/kernels/exposure.h"
#include "luxgrad/kernels/spatial_consistency.h"
#include "luxgrad/kernels/total_variation.h"

namespace lux {

struct ZeroReferenceOptions {
  VariationForm variation = VariationForm::official;
  SpatialForm spatial = SpatialForm::official;
  ColorForm color = ColorForm::official;
  ExposureForm exposure = ExposureForm::official;
  int64_t patch = 16;
  double target = 0.6;
};

/// What the gradient needs, in f32.
struct ZeroReferenceKept {
  Tensor regions;  ///< means of the enhanced and the low picture, [N, H/4, W/4, 2]
  Tensor errors;   ///< of exposure, [N, H/patch, W/patch]
  Tensor means;    ///< of the channels of each picture, [N, 3]
};

/// [total_variation(curves), spatial_consistency(y, low), color_constancy(y), exposure(y)] of the enhanced
/// picture y = curve_iterations(low, curves, iterations), which is not stored; shape [4], in f32. The low
/// picture is a constant. Undefined where the device has no kernels for it or these do not take the problem:
/// curve and losses are made by the operators of those names there.
Tensor fused_zero_reference(const Tensor& low, const Tensor& curves, int iterations,
                            const ZeroReferenceOptions& options);

}  // namespace lux
