// A perceptual term for recipes whose network draws the picture itself: pictures are also compared by what
// VGG16 sees in them. The project has no weights of that network; they come from a file of the user.
#pragma once

#include <string>

#include "luxgrad/training/recipe.h"

namespace lux {

struct PerceptualOptions {
  std::string file;               ///< weights of VGG16 under torchvision's names; a whole VGG16 may be in it
  double weight = 0;              ///< of the term in the loss
  std::string layer = "relu3_3";  ///< whose maps are compared, or relu4_3
};

/// The recipe with `weight` · perceptual_loss added to what it minimises. The SHA-256 of the file is part of
/// its facts, so that a run is resumed with the same weights only. Throws Error for a recipe of another kind,
/// a weight that is not positive and an unknown layer; FileException for a file that cannot be read;
/// StateMismatch where tensors are missing or have other shapes.
Recipe with_perceptual(Recipe recipe, const PerceptualOptions& options);

}  // namespace lux
