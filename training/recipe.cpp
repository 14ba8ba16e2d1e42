#include "luxgrad/training/recipe.h"

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/total_variation.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/ssim.h"

namespace lux {
namespace {

constexpr ResizeImageOptions kPilAntialias{Interpolation::lanczos, true};

// github.com/Li-Chongyi/Zero-DCE, lowlight_train.py and dataloader.py. (The released weights are those after
// epoch 100; the paper says 512 pixels.)
Recipe zero_dce_official() {
  return {.name = "official",
          .adam = {.lr = 1e-4, .weight_decay = 1e-4},
          .clip_norm = 0.1,
          .batch = 8,
          .size = 256,
          .epochs = 200,
          .resize = kPilAntialias,
          .loss = zero_dce_loss_options(ZeroDceMode::official, false)};
}

// keras.io/examples/vision/zero_dce: no clipping, no decay, pictures in the order of their names.
Recipe zero_dce_keras() {
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
          .loss = zero_dce_loss_options(ZeroDceMode::keras, false)};
}

// arXiv:2001.06826, section 4.1: 512 pixels, batch 8, Adam with its defaults and 1e-4, no decay and no
// clipping mentioned; the number of epochs and the way of resizing are not given, so they are the code's.
Recipe zero_dce_paper() {
  return {.name = "paper",
          .adam = {.lr = 1e-4},
          .batch = 8,
          .size = 512,
          .epochs = 200,
          .resize = kPilAntialias,
          .loss = zero_dce_loss_options(ZeroDceMode::paper, false)};
}

// github.com/Li-Chongyi/Zero-DCE_extension, lowlight_train.py: PyTorch's initial values, for the call of the
// authors' own is commented out.
Recipe zero_dce_plus_official() {
  Recipe recipe = zero_dce_official();
  recipe.size = 512;
  recipe.epochs = 100;
  recipe.loss = zero_dce_loss_options(ZeroDceMode::official, true);
  return recipe;
}

// arXiv:2103.00860, section 4: as the first paper.
Recipe zero_dce_plus_paper() {
  Recipe recipe = zero_dce_paper();
  recipe.epochs = 100;
  recipe.loss = zero_dce_loss_options(ZeroDceMode::paper, true);
  return recipe;
}

// Our own. A normal photo made dark again in linear light, with a camera's noise, is a dark picture whose
// right answer is known; so the network learns from an L1 distance and structure instead of from rules about
// how pictures should look. The weight of tv decides between two faults: near zero the curves paint over
// texture along with the noise, at 100 they follow no edge and wash bright skies out. The authors'
// first values, N(0, 0.02²), shrink every layer's output to a third, which leaves the curves flat for long;
// small squares make fast steps, and the network sees 7 pixels around each anyway.
Recipe relit() {
  return {.name = "default",
          .glorot_init = true,
          .adam = {.lr = 2e-3},
          .lr_end = 1e-6,
          .clip_norm = 1,
          .batch = 8,
          .size = 64,
          .epochs = 12,
          .relight = RelightOptions{},
          .repeats = 64,
          .loss = ReferenceLossOptions{}};
}

struct Row {
  const char* model;
  const char* name;
  Recipe (*make)();
};

constexpr Row kRows[] = {
    {"zero_dce", "official", zero_dce_official},
    {"zero_dce", "keras", zero_dce_keras},
    {"zero_dce", "paper", zero_dce_paper},
    {"zero_dce", "default", relit},
    {"zero_dce_plus", "official", zero_dce_plus_official},
    {"zero_dce_plus", "paper", zero_dce_plus_paper},
    {"zero_dce_plus", "default", relit},
};

std::string range(const double (&bounds)[2]) {
  return cat(exact_text(bounds[0]), " to ", exact_text(bounds[1]));
}

const char* name_of(AdamForm form) {
  return form == AdamForm::torch ? "torch" : form == AdamForm::keras ? "keras" : "tf1";
}

const char* name_of(ZeroDceMode mode) {
  return mode == ZeroDceMode::official ? "official" : mode == ZeroDceMode::keras ? "keras" : "paper";
}

const char* name_of(Interpolation mode) {
  constexpr const char* kNames[] = {"nearest", "bilinear", "area", "lanczos"};
  return kNames[static_cast<size_t>(mode)];
}

Loss zero_reference_loss(const ZeroDceLossOptions& options, const Tensor& low,
                         const CurveEnhancement& result) {
  const ZeroDceLoss loss = zero_dce_loss(low, result.enhanced, result.curves, options);
  return {loss.total, {{"tv", loss.tv}, {"spa", loss.spa}, {"col", loss.col}, {"exp", loss.exp}}};
}

Loss reference_loss(const ReferenceLossOptions& options, const Tensor& high, const CurveEnhancement& result) {
  const Tensor distance = l1_loss(result.enhanced, high);
  const Tensor structure = 1.0 - ssim(result.enhanced, high);
  const Tensor tv = total_variation(result.curves, VariationForm::official);
  return {options.l1 * distance + options.structure * structure + options.tv * tv,
          {{"l1", distance}, {"structure", structure}, {"tv", tv}}};
}

}  // namespace

Recipe make_recipe(const std::string& model, const std::string& name) {
  std::string known;
  for (const Row& row : kRows) {
    if (model != row.model) continue;
    if (name == row.name) return row.make();
    known += cat(known.empty() ? "" : ", ", row.name);
  }
  check(!known.empty(), "recipe: there is none for model '", model, "'");
  fail("recipe: expected for ", model, " one of ", known, ", got '", name, "'");
}

Recipe with_references(Recipe recipe) {
  constexpr int64_t kSquares = 8;  // pairs are more than photos
  if (!recipe.relight) return recipe;
  recipe.relight.reset();
  recipe.squares = true;
  recipe.repeats = kSquares;
  return recipe;
}

int64_t smallest_size(const Recipe& recipe) {
  constexpr int64_t kSsimWindow = 11;
  const auto* const zero = std::get_if<ZeroDceLossOptions>(&recipe.loss);
  return zero != nullptr ? zero->exp_patch : kSsimWindow;
}

std::map<std::string, std::string> facts_of(const Recipe& recipe) {
  std::map<std::string, std::string> facts{
      {"recipe", recipe.name},
      {"init", recipe.glorot_init ? "glorot" : "authors"},
      {"adam.form", name_of(recipe.adam.form)},
      {"adam.lr", exact_text(recipe.adam.lr)},
      {"adam.lr_end", exact_text(recipe.lr_end)},
      {"adam.beta1", exact_text(recipe.adam.beta1)},
      {"adam.beta2", exact_text(recipe.adam.beta2)},
      {"adam.eps", exact_text(recipe.adam.effective_eps())},
      {"adam.weight_decay", exact_text(recipe.adam.weight_decay)},
      {"adam.decoupled", recipe.adam.decoupled ? "true" : "false"},
      {"clip_norm", exact_text(recipe.clip_norm)},
      {"batch", std::to_string(recipe.batch)},
      {"size", std::to_string(recipe.size)},
      {"shuffle", recipe.shuffle ? "true" : "false"},
      {"drop_last", recipe.drop_last ? "true" : "false"},
      {"resize.mode", name_of(recipe.resize.mode)},
      {"resize.eight_bit", recipe.resize.eight_bit ? "true" : "false"},
  };
  if (recipe.squares) facts["squares.repeats"] = std::to_string(recipe.repeats);
  if (recipe.relight) {
    const RelightOptions& o = *recipe.relight;
    facts["relight.dark_share"] = exact_text(o.dark_share);
    facts["relight.dark_stops"] = range(o.dark_stops);
    facts["relight.dim_stops"] = range(o.dim_stops);
    facts["relight.deep_share"] = exact_text(o.deep_share);
    facts["relight.black"] = exact_text(o.black);
    facts["relight.white_balance"] = exact_text(o.white_balance);
    facts["relight.shot_variance"] = range(o.shot_variance);
    facts["relight.read_deviation"] = range(o.read_deviation);
    facts["relight.exposure"] = exact_text(recipe.exposure);
    facts["relight.repeats"] = std::to_string(recipe.repeats);
  }
  if (const auto* const zero = std::get_if<ZeroDceLossOptions>(&recipe.loss)) {
    facts["loss"] = name_of(zero->mode);
    facts["weight.tv"] = exact_text(zero->tv);
    facts["weight.spa"] = exact_text(zero->spa);
    facts["weight.col"] = exact_text(zero->col);
    facts["weight.exp"] = exact_text(zero->exp);
    facts["exp_patch"] = std::to_string(zero->exp_patch);
    facts["exp_target"] = exact_text(zero->exp_target);
  } else {
    const auto& reference = std::get<ReferenceLossOptions>(recipe.loss);
    facts["loss"] = "reference";
    facts["weight.l1"] = exact_text(reference.l1);
    facts["weight.structure"] = exact_text(reference.structure);
    facts["weight.tv"] = exact_text(reference.tv);
  }
  return facts;
}

Loss loss_of(const Recipe& recipe, const CurveModel& model, const Tensor& low, const Tensor& high) {
  const CurveEnhancement result = model.forward(low);
  if (const auto* const options = std::get_if<ZeroDceLossOptions>(&recipe.loss)) {
    return zero_reference_loss(*options, low, result);
  }
  check(high.defined(), "recipe ", recipe.name, ": expected pictures with references");
  return reference_loss(std::get<ReferenceLossOptions>(recipe.loss), high, result);
}

}  // namespace lux
