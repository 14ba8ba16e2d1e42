// MIRNet-v2 (Zamir et al., TPAMI 2022, arXiv:2205.01649) as github.com/swz30/MIRNetv2 trains on LOL: crops
// that grow while batches shrink, and two cosines. The first rises from 2e-4 to 3e-4, for the base rate is
// below what its lower end was meant to be.
#include "luxgrad/losses/pixel.h"
#include "luxgrad/training/recipes/recipes.h"
#include "luxgrad/training/recipes/restoration.h"

namespace lux {
namespace {

// Batches are those of one of the authors' eight GPUs. Stages stand to each other as in their configuration:
// 46, 32, 24, 18, 18 and 12 thousand updates.
Recipe official(const std::string&) {
  return {.name = "official",
          .adam = {.lr = 2e-4},
          .rate = {{46, 2e-4, 3e-4}, {104, 2e-4, 1e-6}},
          .clip_norm = 0.01,
          .batch = 8,
          .size = 128,
          .steps = 150000,
          .stages = {{46, 8, 128}, {32, 5, 160}, {24, 4, 192}, {18, 2, 256}, {18, 1, 320}, {12, 1, 384}},
          .squares = true,
          .turns = Turns::all,
          .mix_up = MixUp{.beta = 1.2, .or_not = true},
          .objective = std::make_shared<Restoration>("l1", l1_loss)};
}

// MIT-Adobe FiveK: twice as long, all else in proportion.
Recipe fivek(const std::string& compat) {
  Recipe recipe = official(compat);
  recipe.name = "fivek";
  recipe.steps = 300000;
  return recipe;
}

constexpr RecipeRow kRows[] = {{"mirnet_v2", "official", official}, {"mirnet_v2", "fivek", fivek}};

}  // namespace

std::span<const RecipeRow> mirnet_v2_recipes() { return kRows; }

}  // namespace lux
