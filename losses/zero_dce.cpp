#include "luxgrad/losses/zero_dce.h"

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
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
  const Tensor fused = fused_zero_reference(
      enhanced, low, curves,
      {forms.variation, forms.spatial, forms.color, forms.exposure, options.exp_patch, options.exp_target});
  if (fused.defined()) {
    const auto term = [&](int64_t i) { return reshape(narrow(fused, 0, i, 1), {}); };
    loss.tv = term(0);
    loss.spa = term(1);
    loss.col = term(2);
    loss.exp = term(3);
  } else {
    loss.spa = spatial_consistency(enhanced, low, forms.spatial);                          // Eq. (4)
    loss.exp = exposure(enhanced, forms.exposure, options.exp_patch, options.exp_target);  // Eq. (5)
    loss.col = color_constancy(enhanced, forms.color);                                     // Eq. (6)
    loss.tv = total_variation(curves, forms.variation);                                    // Eq. (7)
  }
  loss.total = options.tv * loss.tv + options.spa * loss.spa + options.col * loss.col +
               options.exp * loss.exp;  // Eq. (8)
  return loss;
}

}  // namespace lux
