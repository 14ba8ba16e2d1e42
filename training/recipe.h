// Recipes: the numbers of a published training, and what it minimises. The trainer knows none of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "luxgrad/data/loader.h"
#include "luxgrad/training/objective.h"
#include "luxgrad/training/optimizer.h"
#include "luxgrad/training/schedule.h"

namespace lux {

/// Part of a training that grows its pictures: so many shares of all steps with this batch and size.
struct Stage {
  double share;
  int64_t batch, size;
};

struct Recipe {
  std::string name;
  ModelConfig model{};       ///< options that it wants of the network
  bool glorot_init = false;  ///< else as the model's authors
  AdamOptions adam;
  /// The learning rate over the whole run; lengths are relative to each other. Empty: `adam.lr` throughout.
  std::vector<Phase> rate{};
  double warm_up = 0;          ///< epochs before that, however long the run, in which the rate grows from 0
  bool rate_by_epoch = false;  ///< the rate changes after epochs only, and the first counts as one done
  bool plateau = false;        ///< the rate is halved when five epochs did not raise the validation PSNR
  /// Epochs that may pass without a higher validation PSNR before the run ends; 0: it never ends early. For
  /// recipes whose rate does not fall on a plateau.
  int64_t patience = 0;
  double clip_norm = 0;  ///< 0: no clipping
  int64_t batch = 8;
  int64_t size = 256;  ///< side of the square that the network sees, in pixels; 0: whole pictures
  int64_t epochs = 100;
  int64_t steps = 0;            ///< where the recipe counts updates instead of epochs
  std::vector<Stage> stages{};  ///< of a training whose batch and size change; empty: those above
  int64_t overfit = 0;          ///< only so many pictures, the same squares of them in every epoch; 0: all
  bool shuffle = true;
  bool replacement = false;  ///< pictures are drawn with replacement
  bool drop_last = false;    ///< leave out the last, smaller batch of an epoch
  double validation = 0;     ///< share of the pictures, the last by name, that judges and does not train
  ResizeImageOptions resize{};
  /// Pairs made from normal photos (data/relight.h) instead of pictures as they are.
  std::optional<RelightOptions> relight{};
  double exposure = 0.48;  ///< with `relight`: the mean that photos are exposed to first
  bool squares = false;    ///< random squares of the pictures instead of whole ones resized
  Turns turns = Turns::all;
  int64_t repeats = 1;  ///< with `relight` or `squares`: squares of each picture in an epoch
  int64_t patch = 0;    ///< side of a patch of each dark picture that gets some of its reference's light
  std::optional<MixUp> mix_up{};
  std::optional<Gain> gain{};
  std::shared_ptr<const Objective> objective;
};

/// The names of a model's recipes, the published one first; empty for a model that has none.
std::vector<std::string> recipe_names(const std::string& model);

/// The recipe of that name for a model; `default` is the first where none has that name. `compat` names an
/// artefact of the published code to be repeated, empty for none. Throws Error with the names there are.
Recipe make_recipe(const std::string& model, const std::string& name, const std::string& compat = "");

/// The artefacts that `make_recipe` knows for a model: name, and what it does.
std::vector<std::pair<std::string, std::string>> compat_names(const std::string& model);

/// The recipe for pictures that come with references of their own: where it would have made dark ones, it
/// takes squares of those that are given.
Recipe with_references(Recipe recipe);

/// The recipe for normal photos alone: where it needs references, the photos are those, and squares of them
/// are made dark.
Recipe without_references(Recipe recipe);

/// The recipe for a network that shall learn a few squares by heart, which shows that it can learn at all:
/// the same `pictures` squares in every step, nothing done to them, no dropout, a constant rate.
Recipe overfitting(Recipe recipe, int64_t pictures);

/// All its numbers as text, for the configuration of a run.
std::map<std::string, std::string> facts_of(const Recipe& recipe);

}  // namespace lux
