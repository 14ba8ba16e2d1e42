// Which recipe a training follows, and what the command line changes of it.
#pragma once

#include <cstdint>
#include <string>

#include "luxgrad/training/perceptual.h"

namespace CLI {
class App;
}

namespace lux {

struct RecipeChoice {
  std::string name = "default";
  std::string compat{};  ///< an artefact that is repeated
  std::string turns{};   ///< none, flips, all; empty: the recipe's, as is 0 below
  int64_t epochs = 0, batch = 0, size = 0, squares = 0;
  int64_t patch = -1;  ///< -1: the recipe's
  int64_t overfit = 0;
  double lr = 0, lr_end = 0;
  PerceptualOptions perceptual{};  ///< no file: none
};

/// --recipe, --compat, and all that changes numbers of a recipe.
void add_recipe_options(CLI::App& app, RecipeChoice& choice);

/// The recipe for this model and data. `references`: the pictures come with some. Throws CommandError for
/// names that are unknown, an artefact that `config` contradicts, sizes that do not fit the network and
/// weights that do not fit VGG16, FileException where those cannot be read.
Recipe recipe_of(const RecipeChoice& choice, const std::string& model, const ModelConfig& config,
                 bool references);

}  // namespace lux
