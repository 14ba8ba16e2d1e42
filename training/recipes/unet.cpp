// The simplified MIRNet, as its README trains it: mean square error and nothing else. (The README also speaks
// of a perceptual loss and of flips and turns; the code has neither.)
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

constexpr RecipeRow kRows[] = {{"unet", "published", published}};

}  // namespace

std::span<const RecipeRow> unet_recipes() { return kRows; }

}  // namespace lux
