// The published trainings, one file each. training/recipe.cpp finds them by name.
#pragma once

#include <span>

#include "luxgrad/training/recipe.h"

namespace lux {

struct RecipeRow {
  const char* model;
  const char* name;
  Recipe (*make)(const std::string& compat);
  const char* compat = "";       ///< the artefact that it can repeat
  const char* compat_text = "";  ///< what that is
};

std::span<const RecipeRow> gan_recipes();
std::span<const RecipeRow> mirnet_keras_recipes();
std::span<const RecipeRow> mirnet_v1_recipes();
std::span<const RecipeRow> mirnet_v2_recipes();
std::span<const RecipeRow> reference_guided_recipes();
std::span<const RecipeRow> unet_recipes();
std::span<const RecipeRow> zero_dce_recipes();

}  // namespace lux
