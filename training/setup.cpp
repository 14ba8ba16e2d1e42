#include "luxgrad/training/setup.h"

#include "luxgrad/data/sha256.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/training/manifest.h"

namespace lux {
namespace {

std::string digest_of(const std::string& text) {
  return sha256({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

}  // namespace

DatasetScan checked_pictures(const TrainOptions& options, TrainListener& listener) {
  DatasetScan scan = scan_dataset(options.data, {.references = !options.recipe.relight});
  for (const std::string& problem : scan.problems) listener.on_notice(problem);
  const int64_t all = static_cast<int64_t>(scan.pictures.size()) + scan.bad;
  if (scan.pictures.empty() ||
      100 * static_cast<double>(scan.bad) > options.skip_bad * static_cast<double>(all)) {
    const int64_t percent = (100 * scan.bad + all - 1) / all;
    const std::string way = percent < 100 ? cat("; --skip-bad ", percent, " trains without them") : "";
    throw FileException({FileErrorCode::mismatch, options.data, -1,
                         cat(scan.bad, " of ", all, " pictures are bad, as listed", way)});
  }
  if (scan.bad > 0) listener.on_notice(cat("training goes on without ", scan.bad, " of ", all, " pictures"));
  return scan;
}

LoaderOptions loader_options(const TrainOptions& options) {
  const Recipe& recipe = options.recipe;
  return {.batch_size = recipe.batch,
          .size = recipe.size,
          .resize = recipe.resize,
          .shuffle = recipe.shuffle,
          .drop_last = recipe.drop_last,
          .random_squares = recipe.squares,
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

Facts configuration(const TrainOptions& options, const Model& model, const DatasetScan& data, int64_t steps) {
  Facts facts = facts_of(options.recipe);
  facts["model"] = model.name();
  for (const auto& [key, value] : model.config()) facts["option." + key] = value;
  facts["data"] = options.data;
  facts["pictures"] = std::to_string(data.pictures.size());
  facts["pictures_sha256"] = digest_of(manifest_of(data.files));
  facts["seed"] = std::to_string(options.seed);
  facts["steps"] = std::to_string(steps);
  return facts;
}

void check_same_pictures(const Facts& before, const std::string& manifest, const DatasetScan& data) {
  const auto digest = before.find("pictures_sha256");
  const std::string now = manifest_of(data.files);
  if (digest == before.end() || digest->second == digest_of(now)) return;
  const bool sound = digest->second == digest_of(manifest);
  fail("train: the pictures are not those that the run began with: ",
       sound ? changes_between(manifest, now)
             : "which ones is not known, manifest.jsonl is missing or changed");
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
