// The conditional GAN as its notebook trains it.
#include "luxgrad/training/recipes/gan.h"

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/cast.h"
#include "luxgrad/losses/adversarial.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/tensor/text.h"
#include "luxgrad/training/recipes/recipes.h"

namespace lux {
namespace {

bool of_generator(std::string_view parameter) { return parameter.starts_with("generator."); }
bool of_discriminator(std::string_view parameter) { return parameter.starts_with("discriminator."); }
bool of_generator_or_norm(std::string_view parameter) {
  return of_generator(parameter) || parameter.starts_with("discriminator.bn");
}

Tensor signed_range(const Tensor& picture) { return 2.0 * picture - 1.0; }

}  // namespace

std::map<std::string, std::string> Adversarial::facts() const {
  return {{"loss", "adversarial"},
          {"loss.dropout", exact_text(options_.dropout)},
          {"loss.moves_norms", options_.moves_norms ? "true" : "false"},
          {"weight.d_real", "0.5"},
          {"weight.d_fake", "0.5"},
          {"weight.adversarial", "1"},
          {"weight.l1", exact_text(options_.l1)}};
}

std::vector<Update> Adversarial::updates() const {
  return {{"discriminator", of_discriminator},
          {"discriminator", of_discriminator},
          {"generator", options_.moves_norms ? of_generator_or_norm : of_generator}};
}

std::shared_ptr<const Objective> Adversarial::without_chance() const {
  AdversarialOptions options = options_;
  options.dropout = 0;
  return std::make_shared<const Adversarial>(options);
}

Loss Adversarial::compute(const Model& model, const StepInput& input, size_t update) const {
  enum Step : size_t { real, fake, generate };
  const auto& gan = as<Gan>(model);
  const auto exact = [&](const Tensor& x) { return cast(x, input.low.dtype()); };
  const auto stored = [&](const Tensor& x) { return cast(signed_range(x), model.dtype()); };
  const Tensor low = stored(input.low);
  const BatchNormMode mode{BatchNormMode::batch, input.statistics};
  const auto generated = [&] {
    return gan.generator(
        low, {mode, options_.dropout, 2 * input.key + (update == generate ? 1 : 0), gan.recompute()});
  };
  const auto taken_for = [&](const Tensor& target, bool real) {
    return adversarial_loss(exact(gan.discriminator.logits(low, target, mode)), real);
  };
  if (update == real) {
    const Tensor loss = taken_for(stored(input.high), true);
    return {0.5 * loss, {{"d_real", loss}}};
  }
  if (update == fake) {
    const Tensor loss = taken_for(generated(), false);
    return {0.5 * loss, {{"d_fake", loss}}};
  }
  const Tensor picture = generated(), adversarial = taken_for(picture, true),
               l1 = l1_loss(exact(picture), signed_range(input.high));
  return {adversarial + options_.l1 * l1, {{"adversarial", adversarial}, {"l1", l1}}};
}

namespace {

Recipe published(const std::string& compat) {
  return {.name = "published",
          .adam = {.lr = 2e-4, .beta1 = 0.5, .form = AdamForm::keras},
          .batch = 12,
          .size = 256,
          .epochs = 100,
          .replacement = true,
          .drop_last = true,
          .resize = {Interpolation::nearest, false},
          .turns = Turns::none,
          .objective = std::make_shared<Adversarial>(AdversarialOptions{.moves_norms = !compat.empty()})};
}

constexpr RecipeRow kRows[] = {{"gan", "published", published, "norms",
                                "the generator's optimiser also moves the discriminator's batch norms"}};

}  // namespace

std::span<const RecipeRow> gan_recipes() { return kRows; }

}  // namespace lux
