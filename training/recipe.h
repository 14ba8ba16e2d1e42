// Recipes: the numbers of a published training, and what it minimises. The trainer knows none of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "luxgrad/data/relight.h"
#include "luxgrad/data/transforms.h"
#include "luxgrad/losses/zero_dce.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/training/optimizer.h"

namespace lux {

/// What a training with references minimises: l1·mean|J − R| + structure·(1 − SSIM(J, R)) + tv·L_tv(A) for
/// the enhanced picture J, its reference R, and the curves A.
struct ReferenceLossOptions {
  double l1 = 1;
  double structure = 0.5;
  double tv = 0.2;
};

struct Recipe {
  std::string name;
  ModelConfig model{};       ///< options that it wants of the network
  bool glorot_init = false;  ///< else as the model's authors
  AdamOptions adam;
  double lr_end = 0;     ///< half a cosine leads there; 0 keeps the rate
  double clip_norm = 0;  ///< 0: no clipping
  int64_t batch = 8;
  int64_t size = 256;  ///< side of the square that the network sees, in pixels
  int64_t epochs = 100;
  bool shuffle = true;
  bool drop_last = false;  ///< leave out the last, smaller batch of an epoch
  ResizeImageOptions resize{};
  /// Pairs made from normal photos (data/relight.h) instead of pictures as they are.
  std::optional<RelightOptions> relight{};
  double exposure = 0.48;  ///< with `relight`: the mean that photos are exposed to first
  bool squares = false;    ///< random squares of the pictures instead of whole ones resized
  int64_t repeats = 1;     ///< with `relight` or `squares`: squares of each picture in an epoch
  std::variant<ZeroDceLossOptions, ReferenceLossOptions> loss;
};

/// The recipe of that name for a model. Throws Error with the names there are.
///   official: the authors' code      keras: the keras.io example      paper: what the paper says
///   default:  our own, with references made from normal photos; it makes the weights that come with the
///   library
Recipe make_recipe(const std::string& model, const std::string& name);

/// The recipe for pictures that come with references of their own: where it would have made dark ones, it
/// takes squares of those that are given.
Recipe with_references(Recipe recipe);

/// The smallest side of pictures in pixels that its loss is defined for: a patch of the exposure loss, or the
/// window of SSIM.
int64_t smallest_size(const Recipe& recipe);

/// All its numbers as text, for the configuration of a run.
std::map<std::string, std::string> facts_of(const Recipe& recipe);

/// A loss and its parts. The terms are unweighted scalars.
struct Loss {
  Tensor total;
  std::vector<std::pair<std::string, Tensor>> terms;
};

/// The recipe's loss of a batch [N, H, W, 3]; `high` is undefined for a loss without references.
Loss loss_of(const Recipe& recipe, const CurveModel& model, const Tensor& low, const Tensor& high);

}  // namespace lux
