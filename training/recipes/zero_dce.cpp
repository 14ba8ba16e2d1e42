// Zero-DCE and Zero-DCE++: without references, and our own way with references made from normal photos.
#include "luxgrad/losses/zero_dce.h"

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/cast.h"
#include "luxgrad/kernels/total_variation.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/ssim.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/tensor/text.h"
#include "luxgrad/training/recipes/recipes.h"

namespace lux {
namespace {

// Stored as the network is, and given back as the picture is, for the losses.
CurveEnhancement enhanced(const Model& model, const Tensor& low) {
  const CurveEnhancement result = as<CurveModel>(model).forward(cast(low, model.dtype()));
  return {cast(result.enhanced, low.dtype()), cast(result.curves, low.dtype())};
}

constexpr ResizeImageOptions kPilAntialias{Interpolation::lanczos, true};

const char* name_of(ZeroDceMode mode) {
  return mode == ZeroDceMode::official ? "official" : mode == ZeroDceMode::keras ? "keras" : "paper";
}

class ZeroReference final : public Objective {
 public:
  ZeroReference(ZeroDceMode mode, bool shared_curves)
      : options_(zero_dce_loss_options(mode, shared_curves)) {}

  std::map<std::string, std::string> facts() const override {
    return {{"loss", name_of(options_.mode)},
            {"weight.tv", exact_text(options_.tv)},
            {"weight.spa", exact_text(options_.spa)},
            {"weight.col", exact_text(options_.col)},
            {"weight.exp", exact_text(options_.exp)},
            {"exp_patch", std::to_string(options_.exp_patch)},
            {"exp_target", exact_text(options_.exp_target)}};
  }
  bool needs_references() const override { return false; }
  int64_t smallest_size() const override { return options_.exp_patch; }

 private:
  Loss compute(const Model& model, const StepInput& input, size_t) const override {
    const Tensor curves = as<CurveModel>(model).curves(cast(input.low, model.dtype()));
    const ZeroDceLoss loss = zero_dce_loss_of_curves(input.low, curves, CurveModel::kIterations, options_);
    return {loss.total, {{"tv", loss.tv}, {"spa", loss.spa}, {"col", loss.col}, {"exp", loss.exp}}};
  }

  ZeroDceLossOptions options_;
};

// mean|J − R| + 0.5·(1 − SSIM(J, R)) + 0.2·L_tv(A) for the enhanced picture J, its reference R, and the
// curves A. The weight of tv decides between two faults: near zero the curves paint over texture along with
// the noise, at 100 they follow no edge and wash bright skies out.
class WithReference final : public Objective {
 public:
  std::map<std::string, std::string> facts() const override {
    return {{"loss", "reference"},
            {"weight.l1", "1"},
            {"weight.structure", exact_text(kStructure)},
            {"weight.tv", exact_text(kSmoothness)}};
  }
  int64_t smallest_size() const override { return 11; }  // the window of SSIM

 private:
  static constexpr double kStructure = 0.5, kSmoothness = 0.2;

  Loss compute(const Model& model, const StepInput& input, size_t) const override {
    const CurveEnhancement result = enhanced(model, input.low);
    const Tensor distance = l1_loss(result.enhanced, input.high);
    const Tensor structure = 1.0 - ssim(result.enhanced, input.high);
    const Tensor tv = total_variation(result.curves, VariationForm::official);
    return {distance + kStructure * structure + kSmoothness * tv,
            {{"l1", distance}, {"structure", structure}, {"tv", tv}}};
  }
};

// github.com/Li-Chongyi/Zero-DCE, lowlight_train.py and dataloader.py. (The released weights are those after
// epoch 100; the paper says 512 pixels.)
Recipe official(const std::string&) {
  return {.name = "official",
          .adam = {.lr = 1e-4, .weight_decay = 1e-4},
          .clip_norm = 0.1,
          .batch = 8,
          .size = 256,
          .epochs = 200,
          .resize = kPilAntialias,
          .turns = Turns::none,
          .objective = std::make_shared<ZeroReference>(ZeroDceMode::official, false)};
}

// keras.io/examples/vision/zero_dce: no clipping, no decay, pictures in the order of their names.
Recipe keras(const std::string&) {
  return {.name = "keras",
          .model = {{"concat", "keras"}},
          .glorot_init = true,
          .adam = {.lr = 1e-4, .form = AdamForm::keras},
          .batch = 16,
          .size = 256,
          .epochs = 100,
          .shuffle = false,
          .drop_last = true,
          .resize = {Interpolation::bilinear, false},
          .turns = Turns::none,
          .objective = std::make_shared<ZeroReference>(ZeroDceMode::keras, false)};
}

// arXiv:2001.06826, section 4.1: 512 pixels, batch 8, Adam with its defaults and 1e-4, no decay and no
// clipping mentioned; the number of epochs and the way of resizing are not given, so they are the code's.
Recipe paper(const std::string&) {
  return {.name = "paper",
          .adam = {.lr = 1e-4},
          .batch = 8,
          .size = 512,
          .epochs = 200,
          .resize = kPilAntialias,
          .turns = Turns::none,
          .objective = std::make_shared<ZeroReference>(ZeroDceMode::paper, false)};
}

// github.com/Li-Chongyi/Zero-DCE_extension, lowlight_train.py: PyTorch's initial values, for the call of the
// authors' own is commented out.
Recipe plus_official(const std::string&) {
  Recipe recipe = official("");
  recipe.size = 512;
  recipe.epochs = 100;
  recipe.objective = std::make_shared<ZeroReference>(ZeroDceMode::official, true);
  return recipe;
}

// arXiv:2103.00860, section 4: as the first paper.
Recipe plus_paper(const std::string&) {
  Recipe recipe = paper("");
  recipe.epochs = 100;
  recipe.objective = std::make_shared<ZeroReference>(ZeroDceMode::paper, true);
  return recipe;
}

// Our own. A normal photo made dark again in linear light, with a camera's noise, is a dark picture whose
// right answer is known; so the network learns from an L1 distance and structure instead of from rules about
// how pictures should look. The authors' first values, N(0, 0.02²), shrink every layer's output to a third,
// which leaves the curves flat for long; small squares make fast steps, and the network sees 7 pixels around
// each anyway.
Recipe relit(const std::string&) {
  return {.name = "default",
          .glorot_init = true,
          .adam = {.lr = 2e-3},
          .rate = {{1, 2e-3, 1e-6}},
          .clip_norm = 1,
          .batch = 8,
          .size = 64,
          .epochs = 12,
          .relight = RelightOptions{},
          .repeats = 64,
          .objective = std::make_shared<WithReference>()};
}

constexpr RecipeRow kRows[] = {
    {"zero_dce", "official", official},
    {"zero_dce", "keras", keras},
    {"zero_dce", "paper", paper},
    {"zero_dce", "default", relit},
    {"zero_dce_plus", "official", plus_official},
    {"zero_dce_plus", "paper", plus_paper},
    {"zero_dce_plus", "default", relit},
};

}  // namespace

std::span<const RecipeRow> zero_dce_recipes() { return kRows; }

}  // namespace lux
