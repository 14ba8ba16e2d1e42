// What a run is made of before its first step: pictures, loader, network with first values, and the text of
// its configuration, by which a resumed run is known to be the same.
#pragma once

#include <memory>

#include "luxgrad/data/loader.h"
#include "luxgrad/training/trainer.h"

namespace lux {

/// The pictures of the data folder, all of them decoded once, so that a long training does not stumble in its
/// third hour. Throws FileException that lists every bad one.
PictureList checked_pictures(const TrainOptions& options);

LoaderOptions loader_options(const TrainOptions& options);

/// The network with the recipe's first values, asking for gradients. Throws Error for a model that has no
/// training.
std::unique_ptr<CurveModel> make_trainee(const TrainOptions& options);

/// Everything the result depends on, as text; besides, the bits depend on the instruction set.
Facts configuration(const TrainOptions& options, const Model& model, const PictureList& pictures,
                    int64_t steps);

/// A run at a constant rate may be made longer, and its folder of pictures may have moved; throws Error where
/// anything else differs.
void check_same_run(const Facts& before, const Facts& now);

/// What a weight file says about its network and training.
Facts weight_facts(const Model& model, const Facts& config, const Progress& progress);

}  // namespace lux
