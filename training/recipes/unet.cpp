// The simplified MIRNet, as its README trains it: mean square error and nothing else. The README also speaks
// of flips, turns and brightness, which the code does not have; they are a recipe of their own. (And of a
// perceptual loss: training/perceptual.h.)
#include "luxgrad/losses/pixel.h"
#include "luxgrad/training/recipes/recipes.h"
#include "luxgrad/training/recipes/restoration.h"

namespace lux {
namespace {

Recipe published(const std::string&) {
  return {.name = "published",
          .adam = {.lr = 1e-3, .form = AdamForm::keras},
          .batch = 8,
          .size = 256,
          .epochs = 10,
          .validation = 0.1,
          .resize = {Interpolation::bilinear, true},
          .turns = Turns::none,
          .objective = std::make_shared<Restoration>("mse", mse_loss)};
}

Recipe readme(const std::string& compat) {
  Recipe recipe = published(compat);
  recipe.name = "readme";
  recipe.turns = Turns::all;
  recipe.gain = Gain{0.8, 1.2};
  return recipe;
}

constexpr RecipeRow kRows[] = {{"unet", "published", published}, {"unet", "readme", readme}};

}  // namespace

std::span<const RecipeRow> unet_recipes() { return kRows; }

}  // namespace lux
