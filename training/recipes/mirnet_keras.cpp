// MIRNet as the keras.io example trains it: the first 300 of 485 pairs by name, crops of 128 pixels, also of
// the pairs that validate, no turns, no shuffling.
#include "luxgrad/losses/pixel.h"
#include "luxgrad/training/recipes/recipes.h"
#include "luxgrad/training/recipes/restoration.h"

namespace lux {
namespace {

Tensor distance(const Tensor& x, const Tensor& y) { return charbonnier(x, y); }

Recipe keras(const std::string& compat) {
  return {.name = "keras",
          .model = compat.empty() ? ModelConfig{} : ModelConfig{{"compat", compat}},
          .adam = {.lr = 1e-4, .form = AdamForm::keras},
          .plateau = true,
          .batch = 4,
          .size = 128,
          .epochs = 50,
          .shuffle = false,
          .drop_last = true,
          .validation = 185.0 / 485,
          .squares = true,
          .turns = Turns::none,
          .objective = std::make_shared<Restoration>("charbonnier", distance)};
}

// github.com/soumik12345/MIRNet: all pairs, turned and flipped, mean absolute error. It stops early by the
// loss on LOL's pairs for evaluation; here by the PSNR on pictures that --validation sets aside, where it
// does.
Recipe soumik12345(const std::string& compat) {
  Recipe recipe = keras(compat);
  recipe.name = "soumik12345";
  recipe.batch = 16;
  recipe.epochs = 100;
  recipe.shuffle = true;
  recipe.validation = 0;
  recipe.plateau = false;
  recipe.patience = 10;
  recipe.turns = Turns::all;
  recipe.objective = std::make_shared<Restoration>("l1", l1_loss);
  return recipe;
}

constexpr const char* kBug = "level 3 fused twice and level 2 never, the maximum before the mean";
constexpr RecipeRow kRows[] = {{"mirnet_keras", "keras", keras, "2021", kBug},
                               {"mirnet_keras", "soumik12345", soumik12345, "2021", kBug}};

}  // namespace

std::span<const RecipeRow> mirnet_keras_recipes() { return kRows; }

}  // namespace lux
