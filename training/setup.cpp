#include "luxgrad/training/setup.h"

#include "luxgrad/data/file.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/models/registry.h"

namespace lux {
namespace {

/// A hash of the names and of all bytes of the pictures.
std::string digest_of(const PictureList& pictures) {
  std::string digests;
  for (const PicturePaths& picture : pictures) {
    digests += picture.name + '\n';
    for (const std::string& path : {picture.low, picture.high})
      if (!path.empty()) digests += sha256(read_file(path).value()) + '\n';
  }
  return sha256({reinterpret_cast<const uint8_t*>(digests.data()), digests.size()});
}

}  // namespace

PictureList checked_pictures(const TrainOptions& options) {
  PictureList pictures = options.recipe.relight ? unpaired_folder(options.data) : open_dataset(options.data);
  check_dataset(pictures);
  return pictures;
}

LoaderOptions loader_options(const TrainOptions& options) {
  const Recipe& recipe = options.recipe;
  return {.batch_size = recipe.batch,
          .size = recipe.size,
          .resize = recipe.resize,
          .shuffle = recipe.shuffle,
          .drop_last = recipe.drop_last,
          .relight = recipe.relight,
          .exposure = recipe.exposure,
          .repeats = recipe.repeats,
          .seed = options.seed};
}

std::unique_ptr<CurveModel> make_trainee(const TrainOptions& options) {
  ModelConfig config = options.model_config;
  config.insert(options.recipe.model.begin(), options.recipe.model.end());
  std::unique_ptr<Model> made = make_model(options.model, config);
  check(dynamic_cast<CurveModel*>(made.get()) != nullptr, "train: there is no training for ", options.model);
  std::unique_ptr<CurveModel> model(static_cast<CurveModel*>(made.release()));
  const Generator generator(options.seed, "init");
  if (options.recipe.glorot_init) {
    init_glorot_uniform_(*model, generator);
  } else {
    model->init_(generator);
  }
  model->requires_grad_();
  return model;
}

Facts configuration(const TrainOptions& options, const Model& model, const PictureList& pictures,
                    int64_t steps) {
  Facts facts = facts_of(options.recipe);
  facts["model"] = model.name();
  for (const auto& [key, value] : model.config()) facts["option." + key] = value;
  facts["data"] = options.data;
  facts["pictures"] = std::to_string(pictures.size());
  facts["pictures_sha256"] = digest_of(pictures);
  facts["seed"] = std::to_string(options.seed);
  facts["steps"] = std::to_string(steps);
  return facts;
}

void check_same_run(const Facts& before, const Facts& now) {
  const bool constant_rate = now.at("adam.lr_end") == "0";  // else the rate depends on the number of steps
  for (const auto& [key, value] : now) {
    if (key == "data" || (key == "steps" && constant_rate)) continue;
    const auto found = before.find(key);
    check(found != before.end() && found->second == value, "train: the run to be resumed has ", key, " = ",
          found == before.end() ? "(nothing)" : found->second, ", got ", value);
  }
}

Facts weight_facts(const Model& model, const Facts& config, const Progress& progress) {
  Facts facts = to_metadata(model);
  for (const auto& [key, value] : config)
    if (key != "data") facts["config." + key] = value;  // a path says nothing to others
  facts["progress.step"] = std::to_string(progress.step);
  return facts;
}

}  // namespace lux
