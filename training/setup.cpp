#include "luxgrad/training/setup.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/data/file.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/data/split.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/training/manifest.h"

namespace lux {
namespace {

// So many as Keras' validation_split leaves behind ⌊n·(1 − share)⌋.
int64_t validation_count(const TrainOptions& options, const PictureList& pictures) {
  const auto all = static_cast<double>(pictures.size());
  constexpr double kRounding = 1e-9;  // 485·(1 − 185/485) is 300
  return static_cast<int64_t>(pictures.size()) -
         static_cast<int64_t>(std::floor(all * (1 - options.recipe.validation) + kRounding));
}

std::string digest_of(const std::string& text) { return sha256(bytes_of(text)); }

std::string digest_of(const State& weights) {
  std::string parts;
  for (const auto& [name, tensor] : weights) {
    const size_t bytes = static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype());
    parts += cat(name, " ", sha256({static_cast<const uint8_t*>(tensor.raw()), bytes}), "\n");
  }
  return digest_of(parts);
}

// Those that the file does not name, and those that it names.
std::pair<PictureList, PictureList> split_by_list(const PictureList& pictures, const std::string& names) {
  std::pair<PictureList, PictureList> parts{{}, sound(select_named(pictures, names))};
  for (const PicturePaths& picture : pictures) {
    if (std::find(parts.second.begin(), parts.second.end(), picture) == parts.second.end())
      parts.first.push_back(picture);
  }
  return parts;
}

int64_t validation_count_by_name(double wanted, int64_t pictures) {
  try {
    return validation_size(wanted, pictures);
  } catch (const Error& error) {
    throw UnfitOption(error.what());
  }
}

std::pair<PictureList, PictureList> split_as_asked(const TrainOptions& options, const PictureList& pictures) {
  const auto all = static_cast<int64_t>(pictures.size());
  if (options.validation > 0)
    return split_by_name(pictures, validation_count_by_name(options.validation, all), options.seed);
  if (!options.validation_names.empty()) return split_by_list(pictures, options.validation_names);
  return split_dataset(pictures, validation_count(options, pictures));
}

// So that a recipe that leaves out the last, smaller batch of an epoch has any.
void check_fills_a_batch(const TrainOptions& options, const PictureList& trained) {
  const Recipe& recipe = options.recipe;
  const int64_t repeats = recipe.squares || recipe.relight ? recipe.repeats : 1;
  const auto samples = static_cast<int64_t>(trained.size()) * repeats;
  if (!recipe.drop_last || samples >= recipe.batch) return;
  throw FileException(
      {FileErrorCode::mismatch, options.data, -1,
       cat("gives ", samples, " of the ", recipe.batch,
           " pictures of a batch, and the recipe leaves out smaller ones; --batch changes that")});
}

}  // namespace

DatasetScan checked_pictures(const TrainOptions& options, TrainListener& listener) {
  DatasetScan scan =
      scan_dataset(options.data, {.references = !options.recipe.relight, .names = options.names});
  listener.on_dataset(scan.found);
  for (const std::string& problem : scan.problems) listener.on_notice(problem);
  const int64_t all = static_cast<int64_t>(scan.pictures.size()) + scan.bad;
  if (scan.pictures.empty() ||
      100 * static_cast<double>(scan.bad) > options.skip_bad * static_cast<double>(all)) {
    const int64_t percent = all == 0 ? 100 : (100 * scan.bad + all - 1) / all;
    const std::string way = percent < 100 ? cat("; --skip-bad ", percent, " trains without them") : "";
    throw FileException({FileErrorCode::mismatch, options.data, -1,
                         cat(scan.bad, " of ", all, " pictures are bad, as listed", way)});
  }
  if (scan.bad > 0) listener.on_notice(cat("training goes on without ", scan.bad, " of ", all, " pictures"));
  return scan;
}

std::pair<PictureList, PictureList> parts_of(const TrainOptions& options, const PictureList& pictures) {
  auto parts = split_as_asked(options, pictures);
  check(parts.second.empty() || options.recipe.relight || !parts.second.front().high.empty(),
        "train: pictures that validate need references");
  if (parts.first.empty())
    throw FileException({FileErrorCode::mismatch, options.data, -1,
                         cat("all ", pictures.size(), " pictures validate, and none is left to learn from")});
  const auto few = static_cast<size_t>(options.recipe.overfit);
  if (few > 0 && parts.first.size() > few) parts.first.resize(few);
  check_fills_a_batch(options, parts.first);
  return parts;
}

LoaderOptions validation_options(const TrainOptions& options) {
  LoaderOptions validation = loader_options(options);
  validation.batch_size = 1;
  validation.shuffle = validation.replacement = validation.drop_last = false;
  validation.turns = Turns::none;
  validation.patch = 0;
  validation.mix_up.reset();
  validation.gain.reset();
  validation.repeats = 1;
  return validation;
}

int64_t steps_of(const TrainOptions& options, int64_t batches_per_epoch) {
  if (options.steps > 0) return options.steps;
  return options.recipe.steps > 0 ? options.recipe.steps : options.recipe.epochs * batches_per_epoch;
}

Schedule schedule_of(const Recipe& recipe, int64_t steps, int64_t batches_per_epoch) {
  if (recipe.rate.empty()) return constant(recipe.adam.lr);
  const auto all_steps = static_cast<double>(steps), epoch = static_cast<double>(batches_per_epoch);
  const double warm_up = recipe.warm_up * (recipe.rate_by_epoch ? 1 : epoch);
  const double length = (recipe.rate_by_epoch ? std::ceil(all_steps / epoch) : all_steps) - warm_up;
  std::vector<Phase> phases;
  if (warm_up > 0) phases.push_back({warm_up, 0, recipe.rate.front().from, Phase::Curve::linear});
  if (length <= 0) return Schedule(phases);  // it ends before it is warm
  double all = 0;
  for (const Phase& phase : recipe.rate) all += phase.length;
  for (Phase phase : recipe.rate) {
    phase.length *= length / all;
    phases.push_back(phase);
  }
  return Schedule(phases);
}

LoaderOptions loader_options(const TrainOptions& options) {
  const Recipe& recipe = options.recipe;
  return {.batch_size = recipe.batch,
          .size = recipe.size,
          .resize = recipe.resize,
          .shuffle = recipe.shuffle,
          .replacement = recipe.replacement,
          .drop_last = recipe.drop_last,
          .random_squares = recipe.squares,
          .turns = recipe.turns,
          .patch = recipe.patch,
          .mix_up = recipe.mix_up,
          .gain = recipe.gain,
          .relight = recipe.relight,
          .exposure = recipe.exposure,
          .repeats = recipe.repeats,
          .every_epoch = recipe.overfit == 0,
          .seed = options.seed};
}

std::unique_ptr<Model> make_trainee(const TrainOptions& options) {
  ModelConfig config = options.model_config;
  config.insert(options.recipe.model.begin(), options.recipe.model.end());
  std::unique_ptr<Model> model = make_model(options.model, config);
  const Generator generator(options.seed, "init");
  if (options.recipe.glorot_init) {
    init_glorot_uniform_(*model, generator);
  } else {
    model->init_(generator);
  }
  if (!options.first_weights.empty()) model->load_state_dict(options.first_weights);
  model->to(options.device);
  model->requires_grad_();
  model->set_recompute(options.recompute);
  return model;
}

Facts configuration(const TrainOptions& options, const Model& model, const DatasetScan& data, int64_t steps) {
  Facts facts = facts_of(options.recipe);
  facts["model"] = model.name();
  for (const auto& [key, value] : model.config()) facts["option." + key] = value;
  facts["data"] = printable(options.data);  // names need not be UTF-8, metadata must
  facts["pictures"] = std::to_string(data.pictures.size());
  facts["pictures_sha256"] = digest_of(manifest_of(data.files));
  if (options.validation > 0) {
    facts["validation"] = cat(exact_text(options.validation), " by name");
  } else if (!options.validation_names.empty()) {
    std::string names;
    for (const PicturePaths& picture : split_by_list(data.pictures, options.validation_names).second)
      names += picture.name + "\n";
    facts["validation"] = cat("listed, SHA-256 of the names ", digest_of(names));
  }
  if (!options.first_weights.empty())
    facts["first_weights"] = cat("SHA-256 ", digest_of(options.first_weights));
  if (precision() == Precision::tf32 || precision() == Precision::bf16)  // the others train alike
    facts["precision"] = name_of(precision());
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
  // Else the rate, or the size of pictures, depends on the number of steps.
  const bool constant_rate = now.at("adam.lr_end") == "0" && !now.contains("stages");
  const auto value_of = [](const Facts& facts, const std::string& key) {
    const auto found = facts.find(key);
    return found == facts.end() ? "(nothing)" : found->second;
  };
  Facts either = now;  // what only one of them has is a difference, too
  either.insert(before.begin(), before.end());
  for (const auto& [key, value] : either) {
    if (key == "data" || (key == "steps" && constant_rate)) continue;
    const std::string was = value_of(before, key), is = value_of(now, key);
    check(was == is, "train: the run to be resumed has ", key, " = ", was, ", got ", is);
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
