// What a run is made of before its first step: pictures, loader, network with first values, and the text of
// its configuration, by which a resumed run is known to be the same.
#pragma once

#include <memory>

#include "luxgrad/data/loader.h"
#include "luxgrad/data/scan.h"
#include "luxgrad/training/trainer.h"

namespace lux {

/// A scan of the data folder; tells the listener about every bad file in it. Throws FileException where more
/// than `options.skip_bad` percent of the pictures are bad, or none is good.
DatasetScan checked_pictures(const TrainOptions& options, TrainListener& listener);

/// The pictures that train, and those that validate: chosen by name where the options ask for some, else the
/// recipe's share, the last of the list, as Keras splits. Throws UnfitOption where there are not so many,
/// FileException where those that train do not fill the one batch that the recipe wants, and Error where
/// those that validate have no references.
std::pair<PictureList, PictureList> parts_of(const TrainOptions& options, const PictureList& pictures);

LoaderOptions loader_options(const TrainOptions& options);
/// The pictures that validate, one by one, always the same squares of them.
LoaderOptions validation_options(const TrainOptions& options);

/// Updates in all.
int64_t steps_of(const TrainOptions& options, int64_t batches_per_epoch);

/// The learning rate over steps, or over epochs where the recipe says so.
Schedule schedule_of(const Recipe& recipe, int64_t steps, int64_t batches_per_epoch);

/// The network with the recipe's first values, asking for gradients, and computing blocks again if so asked.
std::unique_ptr<Model> make_trainee(const TrainOptions& options);

/// Everything the result depends on, as text; besides, the bits depend on the instruction set.
Facts configuration(const TrainOptions& options, const Model& model, const DatasetScan& data, int64_t steps);

/// Throws Error that names the pictures where they are not those of the run to be resumed. `manifest` is what
/// the run folder holds.
void check_same_pictures(const Facts& before, const std::string& manifest, const DatasetScan& data);

/// A run at a constant rate may be made longer, and its folder of pictures may have moved; throws Error where
/// anything else differs.
void check_same_run(const Facts& before, const Facts& now);

/// What a weight file says about its network and training.
Facts weight_facts(const Model& model, const Facts& config, const Progress& progress);

}  // namespace lux
