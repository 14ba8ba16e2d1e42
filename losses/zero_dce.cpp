#include "luxgrad/losses/zero_dce.h"

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/cast.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/zero_reference.h"

namespace lux {
namespace {

struct Forms {
  SpatialForm spatial;
  ExposureForm exposure;
  ColorForm color;
  VariationForm variation;
};

Forms forms_of(ZeroDceMode mode) {
  switch (mode) {
    case ZeroDceMode::keras:
      return {SpatialForm::keras, ExposureForm::official, ColorForm::official, VariationForm::keras};
    case ZeroDceMode::paper:
      return {SpatialForm::paper, ExposureForm::paper, ColorForm::paper, VariationForm::paper};
    case ZeroDceMode::official:
      break;
  }
  return {SpatialForm::official, ExposureForm::official, ColorForm::official, VariationForm::official};
}

// Eq. (8).
Tensor total_of(const ZeroDceLoss& loss, const ZeroDceLossOptions& options) {
  return options.tv * loss.tv + options.spa * loss.spa + options.col * loss.col + options.exp * loss.exp;
}

}  // namespace

ZeroDceLossOptions zero_dce_loss_options(ZeroDceMode mode, bool shared_curves) {
  ZeroDceLossOptions options{.mode = mode};
  if (mode == ZeroDceMode::paper) options = {.mode = mode, .tv = 20, .spa = 1, .col = 0.5, .exp = 1};
  if (shared_curves) options.tv *= 8;
  return options;
}

ZeroDceLoss zero_dce_loss(const Tensor& low, const Tensor& enhanced, const Tensor& curves,
                          const ZeroDceLossOptions& options) {
  const Forms forms = forms_of(options.mode);
  ZeroDceLoss loss;
  loss.spa = spatial_consistency(enhanced, low, forms.spatial);                          // Eq. (4)
  loss.exp = exposure(enhanced, forms.exposure, options.exp_patch, options.exp_target);  // Eq. (5)
  loss.col = color_constancy(enhanced, forms.color);                                     // Eq. (6)
  loss.tv = total_variation(curves, forms.variation);                                    // Eq. (7)
  loss.total = total_of(loss, options);
  return loss;
}

ZeroDceLoss zero_dce_loss_of_curves(const Tensor& low, const Tensor& curves, int iterations,
                                    const ZeroDceLossOptions& options) {
  const Forms forms = forms_of(options.mode);
  const Tensor x = cast(low, curves.dtype());
  const Tensor fused = fused_zero_reference(
      x, curves, iterations,
      {forms.variation, forms.spatial, forms.color, forms.exposure, options.exp_patch, options.exp_target});
  if (!fused.defined()) {
    return zero_dce_loss(low, cast(curve_iterations(x, curves, iterations), low.dtype()),
                         cast(curves, low.dtype()), options);
  }
  const auto term = [&](int64_t i) { return reshape(narrow(fused, 0, i, 1), {}); };
  ZeroDceLoss loss;
  loss.tv = term(0);
  loss.spa = term(1);
  loss.col = term(2);
  loss.exp = term(3);
  loss.total = total_of(loss, options);
  return loss;
}

}  // namespace lux
