#include "luxgrad/tools/recipe_choice.h"

#include <CLI/CLI.hpp>
#include <set>

#include "luxgrad/data/result.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/number_option.h"
#include "luxgrad/tools/words.h"

namespace lux {
namespace {

// A line for each model.
std::string recipe_list() {
  std::string text;
  for (const std::string& model : model_names()) {
    std::string names;
    for (const std::string& name : recipe_names(model)) names += cat(names.empty() ? "" : ", ", name);
    text += cat("\n  ", model, ": ", names);
  }
  return text;
}

std::string compat_list() {
  std::string text;
  for (const std::string& model : model_names()) {
    for (const auto& [name, meaning] : compat_names(model))
      text += cat("\n  ", name, " (", model, "): ", meaning);
  }
  return text;
}

// Those of all models: the name of a recipe, or of an artefact, may be known to several.
std::vector<std::string> every_recipe() {
  std::set<std::string> names;
  for (const std::string& model : model_names()) {
    for (const std::string& name : recipe_names(model)) names.insert(name);
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> every_artefact() {
  std::set<std::string> names;
  for (const std::string& model : model_names()) {
    for (const auto& [name, meaning] : compat_names(model)) names.insert(name);
  }
  return {names.begin(), names.end()};
}

void add_number(CLI::App& app, const char* name, int64_t& value, const char* text, int64_t least = 1) {
  app.add_option(name, value, text)
      ->type_name("N")
      ->check(CLI::Range(least, int64_t{1} << 30).description(""));
}

void add_rate(CLI::App& app, const char* name, double& value, const char* text) {
  app.add_option(name, value, text)->type_name("RATE")->check(finite_number(kAboveZero));
}

void add_perceptual_options(CLI::App& app, PerceptualOptions& choice) {
  app.add_option("--perceptual", choice.file,
                 "Compare also what VGG16 sees: its weights, with torchvision's names, as .pth,\n"
                 "safetensors or .npz (for networks that draw the picture: unet, mirnet_*)")
      ->type_name("FILE");
  app.add_option("--perceptual-weight", choice.weight, "Of that in the loss (default 0)")
      ->type_name("W")
      ->check(finite_number(0));
  app.add_option("--perceptual-layer", choice.layer, "relu3_3 or relu4_3 (default relu3_3)")
      ->type_name("NAME")
      ->check(one_of({"relu3_3", "relu4_3"}));
}

void add_perceptual_term(const PerceptualOptions& choice, Recipe& recipe) {
  check_usage(choice.file.empty() == (choice.weight == 0),
              "--perceptual and --perceptual-weight go together: without both there is no such term");
  if (choice.file.empty()) return;
  try {
    recipe = with_perceptual(recipe, choice);
  } catch (const StateMismatch& error) {
    throw misfit(cat(choice.file, ": ", error.what()));
  } catch (const FileException&) {
    throw;
  } catch (const Error& error) {
    usage_error(error.what());
  }
}

// What the recipe wants of the network may be wished otherwise, but not by who asks for an artefact of it.
ModelConfig network_of(const RecipeChoice& choice, const Recipe& recipe, ModelConfig config) {
  for (const auto& [key, value] : recipe.model) {
    const std::string& wished = config.emplace(key, value).first->second;
    check_usage(choice.compat.empty() || wished == value, "--compat ", choice.compat, " is a network with ",
                key, "=", value, ", --option ", key, "=", wished, " another");
  }
  return config;
}

void change_rate(const RecipeChoice& choice, Recipe& recipe) {
  if (choice.lr == 0 && choice.lr_end == 0) return;
  if (choice.lr > 0) recipe.adam.lr = choice.lr;
  recipe.rate.clear();
  recipe.rate_by_epoch = false;
  recipe.warm_up = 0;
  if (choice.lr_end > 0) recipe.rate = {{1, recipe.adam.lr, choice.lr_end}};
}

void change_pictures(const RecipeChoice& choice, Recipe& recipe) {
  if (choice.batch > 0) {
    recipe.batch = choice.batch;
    recipe.stages.clear();
  }
  if (choice.size > 0) {
    recipe.squares = recipe.squares || recipe.size == 0;  // of pictures that would be taken whole
    recipe.size = choice.size;
    recipe.stages.clear();
  }
  if (choice.squares > 0) {
    check_usage(recipe.size > 0, "--squares: name their side with --size");
    recipe.squares = !recipe.relight;
    recipe.repeats = choice.squares;
  }
  if (choice.patch >= 0) recipe.patch = choice.patch;
  if (choice.turns == "none") recipe.turns = Turns::none;
  if (choice.turns == "flips") recipe.turns = Turns::flips;
  if (choice.turns == "all") recipe.turns = Turns::all;
}

}  // namespace

void add_recipe_options(CLI::App& app, RecipeChoice& choice) {
  app.add_option("--recipe", choice.name,
                 cat("By name (default: the one called so, else the first of the model):", recipe_list()))
      ->type_name("NAME")
      ->check(offers(every_recipe()));
  app.add_option("--compat", choice.compat, cat("Repeat an artefact of the published code:", compat_list()))
      ->type_name("NAME")
      ->check(offers(every_artefact()));
  add_number(app, "--epochs", choice.epochs, "Passes over the data (default: the recipe's, as of all below)");
  if (CLI::Option* const steps = app.get_option_no_throw("--steps"))
    app.get_option("--epochs")->excludes(steps);
  add_number(app, "--batch", choice.batch, "Pictures per update");
  add_number(app, "--size", choice.size, "Side of the training pictures in pixels");
  add_number(app, "--squares", choice.squares,
             "Random squares, N of each picture in an epoch, instead of whole pictures resized");
  app.add_option("--turns", choice.turns, "How pictures are turned: none, flips, all")
      ->type_name("KIND")
      ->check(one_of({"none", "flips", "all"}));
  add_number(app, "--patch", choice.patch,
             "Side of a patch of each dark picture that gets some of its reference's light; 0: none", 0);
  add_rate(app, "--lr", choice.lr, "Learning rate, constant");
  add_rate(app, "--lr-end", choice.lr_end, "What the learning rate falls to by the end, on half a cosine");
  add_perceptual_options(app, choice.perceptual);
  add_number(app, "--overfit", choice.overfit, "Learn only squares of N pictures by heart, in 400 steps");
}

Recipe recipe_of(const RecipeChoice& choice, const std::string& model, const ModelConfig& config,
                 bool references) {
  Recipe recipe;
  int64_t multiple = 1;
  try {
    recipe = make_recipe(model, choice.name, choice.compat);
    multiple = make_model(model, network_of(choice, recipe, config))->traits().size_multiple;
  } catch (const Error& error) {
    usage_error(error.what());
  }
  add_perceptual_term(choice.perceptual, recipe);
  recipe = references ? with_references(recipe) : without_references(recipe);
  if (choice.overfit > 0) recipe = overfitting(recipe, choice.overfit);
  if (choice.epochs > 0) {
    recipe.epochs = choice.epochs;
    recipe.steps = 0;
  }
  change_rate(choice, recipe);
  change_pictures(choice, recipe);
  if (recipe.size == 0) return recipe;
  const int64_t smallest = recipe.objective->smallest_size();
  check_usage(recipe.size >= smallest, "--size: expected at least ", smallest, " for recipe ", choice.name,
              ", got ", recipe.size);
  check_usage(recipe.size % multiple == 0, "--size: expected a multiple of ", multiple,
              " for this network, got ", recipe.size);
  return recipe;
}

}  // namespace lux
