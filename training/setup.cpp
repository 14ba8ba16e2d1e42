#include "luxgrad/training/setup.h"

#include "luxgrad/data/sha256.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/models/registry.h"

namespace lux {

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
  std::string names;
  for (const PicturePaths& picture : pictures) names += picture.name + '\n';
  facts["data"] = options.data;
  facts["pictures"] = std::to_string(pictures.size());
  facts["pictures_sha256"] = sha256({reinterpret_cast<const uint8_t*>(names.data()), names.size()});
  facts["seed"] = std::to_string(options.seed);
  facts["steps"] = std::to_string(steps);
  return facts;
}

void check_same_run(const Facts& before, const Facts& now) {
  for (const auto& [key, value] : now) {
    if (key == "steps" || key == "data") continue;
    const auto found = before.find(key);
    check(found != before.end() && found->second == value, "train: the run to be resumed has ", key, " = ",
          found == before.end() ? "(nothing)" : found->second, ", got ", value);
  }
}

Facts weight_facts(const Model& model, const Facts& config, const Progress& progress) {
  Facts facts = to_metadata(model);
  for (const auto& [key, value] : config) facts["config." + key] = value;
  facts["progress.step"] = std::to_string(progress.step);
  return facts;
}

}  // namespace lux
