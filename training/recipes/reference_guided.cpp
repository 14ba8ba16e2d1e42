// Reference-guided enhancement (Wang et al., Pattern Recognition 2022, arXiv:2101.00813) as the authors' code
// trains: the bright picture of a pair is the reference, and a patch of each dark one is lit by chance, so
// that the network meets pictures that are not dark everywhere.
#include "luxgrad/losses/reference_guided.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/cast.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/tensor/text.h"
#include "luxgrad/training/recipes/recipes.h"

namespace lux {
namespace {

class Guided final : public Objective {
 public:
  explicit Guided(const ReferenceGuidedLossOptions& options) : options_(options) {}

  std::map<std::string, std::string> facts() const override {
    return {{"loss", "reference_guided"},
            {"loss.rest", options_.huber ? "huber" : "l1"},
            {"loss.margin", exact_text(options_.margin)},
            {"loss.hsv_gradient", options_.hsv_gradient ? "true" : "false"},
            {"weight.rest", "1"},
            {"weight.lum", exact_text(options_.features)},
            {"weight.con", exact_text(options_.features)},
            {"weight.cont", exact_text(options_.colors)}};
  }

  /// By the look of the reference, as published.
  Tensor result(const Model& model, const Tensor& low, const Tensor& high) const override {
    if (!high.defined()) return Objective::result(model, low, high);
    const NoGrad no_grad;
    const auto& network = as<ReferenceGuided>(model);
    return network.decode(network.encode(low.to(model.device())), network.look_of(high)).to(low.device());
  }

 private:
  Loss compute(const Model& model, const StepInput& input, size_t) const override {
    const auto& network = as<ReferenceGuided>(model);
    const auto stored = [&](const Tensor& x) { return cast(x, model.dtype()); };
    const auto exact = [&](const Tensor& x) { return cast(x, input.low.dtype()); };
    const ReferenceGuided::Encoding low = network.encode(stored(input.low)),
                                    high = network.encode(stored(input.high));
    const Tensor enhanced = network.decode(low, high.luminance());
    const Tensor again = network.encode(enhanced).features;
    ReferenceGuidedLossOptions options = options_;
    options.luminance = network.options().lum_dim;
    options.instance_norm = network.options().instance_norm;
    const ReferenceGuidedLoss loss = reference_guided_loss(
        {input.low, input.high, exact(enhanced), exact(low.features), exact(high.features), exact(again)},
        options);
    return {loss.total, {{"rest", loss.rest}, {"lum", loss.lum}, {"con", loss.con}, {"cont", loss.cont}}};
  }

  ReferenceGuidedLossOptions options_;
};

// LOL: whole pictures of 600 x 400 pixels.
Recipe official(const std::string& compat) {
  return {.name = "official",
          .adam = {.lr = 1e-4, .form = AdamForm::tf1},
          .batch = 8,
          .size = 0,
          .epochs = 1000,
          .drop_last = true,
          .turns = Turns::flips,
          .patch = 100,
          .objective = std::make_shared<Guided>(ReferenceGuidedLossOptions{.hsv_gradient = compat.empty()})};
}

// MIT-Adobe FiveK: crops, Huber's distance, no lit patches.
Recipe fivek(const std::string& compat) {
  Recipe recipe = official(compat);
  recipe.name = "fivek";
  recipe.batch = 16;
  recipe.size = 128;
  recipe.epochs = 2000;
  recipe.squares = true;
  recipe.patch = 0;
  recipe.objective =
      std::make_shared<Guided>(ReferenceGuidedLossOptions{.hsv_gradient = compat.empty(), .huber = true});
  return recipe;
}

constexpr const char* kText = "hue and saturation are measured and train nothing, as under TensorFlow 1.14";
constexpr RecipeRow kRows[] = {{"reference_guided", "official", official, "tf114", kText},
                               {"reference_guided", "fivek", fivek, "tf114", kText}};

}  // namespace

std::span<const RecipeRow> reference_guided_recipes() { return kRows; }

}  // namespace lux
