// MIRNet (Zamir et al., ECCV 2020, arXiv:2003.06792) as github.com/swz30/MIRNet trains: three epochs of
// warming up, half a cosine, and mixed pictures after the fifth epoch. The length is the paper's: 7·10⁵
// updates.
#include "luxgrad/losses/pixel.h"
#include "luxgrad/training/recipes/recipes.h"
#include "luxgrad/training/recipes/restoration.h"

namespace lux {
namespace {

Tensor distance(const Tensor& x, const Tensor& y) { return charbonnier(x, y); }

Recipe official(const std::string&) {
  return {.name = "official",
          .adam = {.lr = 2e-4, .weight_decay = 1e-8},
          .rate = {{1, 2e-4, 1e-6}},
          .warm_up = 3,
          .rate_by_epoch = true,
          .batch = 16,
          .size = 128,
          .steps = 700000,
          .squares = true,
          .turns = Turns::all,
          .mix_up = MixUp{.beta = 1.2, .first_epoch = 5, .each = true},
          .objective = std::make_shared<Restoration>("charbonnier", distance, true)};
}

constexpr RecipeRow kRows[] = {{"mirnet_v1", "official", official}};

}  // namespace

std::span<const RecipeRow> mirnet_v1_recipes() { return kRows; }

}  // namespace lux
