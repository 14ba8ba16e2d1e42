#include "luxgrad/tools/recipe_choice.h"

#include <CLI/CLI.hpp>

#include "luxgrad/models/registry.h"
#include "luxgrad/tools/exit_code.h"

namespace lux {
namespace {

// "zero_dce official, keras, paper; unet published"
std::string recipe_list() {
  std::string text;
  for (const std::string& model : model_names()) {
    std::string names;
    for (const std::string& name : recipe_names(model)) names += cat(names.empty() ? " " : ", ", name);
    text += cat(text.empty() ? "" : "; ", model, names);
  }
  return text;
}

std::string compat_list() {
  std::string text;
  for (const std::string& model : model_names()) {
    for (const auto& [name, meaning] : compat_names(model))
      text += cat(text.empty() ? "" : "; ", model, " ", name, ": ", meaning);
  }
  return text;
}

void add_number(CLI::App& app, const char* name, int64_t& value, const char* text, int64_t least = 1) {
  app.add_option(name, value, text)
      ->type_name("N")
      ->check(CLI::Range(least, int64_t{1} << 30).description(""));
}

void add_rate(CLI::App& app, const char* name, double& value, const char* text) {
  app.add_option(name, value, text)->type_name("RATE")->check(CLI::PositiveNumber.description(""));
}

void change_rate(const RecipeChoice& choice, Recipe& recipe) {
  if (choice.lr == 0 && choice.lr_end == 0) return;
  if (choice.lr > 0) recipe.adam.lr = choice.lr;
  recipe.rate.clear();
  recipe.rate_by_epoch = false;
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
  app.add_option("--recipe", choice.name, cat("default, or a published one: ", recipe_list()))
      ->type_name("NAME");
  app.add_option("--compat", choice.compat, cat("Repeat an artefact of the published code: ", compat_list()))
      ->type_name("NAME");
  add_number(app, "--epochs", choice.epochs, "Passes over the data (default: the recipe's, as of all below)");
  add_number(app, "--batch", choice.batch, "Pictures per update");
  add_number(app, "--size", choice.size, "Side of the training pictures in pixels");
  add_number(app, "--squares", choice.squares,
             "Random squares, N of each picture in an epoch, instead of whole pictures resized");
  app.add_option("--turns", choice.turns, "How squares and whole pictures are turned: none, flips, all")
      ->type_name("KIND")
      ->check(CLI::IsMember({"none", "flips", "all"}).description(""));
  add_number(app, "--patch", choice.patch,
             "Side of a patch of each dark picture that gets some of its reference's light; 0: none", 0);
  add_rate(app, "--lr", choice.lr, "Learning rate, constant");
  add_rate(app, "--lr-end", choice.lr_end, "What the learning rate falls to by the end, on half a cosine");
  add_number(app, "--overfit", choice.overfit, "Learn only squares of N pictures by heart, in 400 steps");
}

Recipe recipe_of(const RecipeChoice& choice, const std::string& model, const ModelConfig& config,
                 bool references) {
  Recipe recipe;
  int64_t multiple = 1;
  try {
    recipe = make_recipe(model, choice.name, choice.compat);
    multiple = make_model(model, config)->traits().size_multiple;
  } catch (const Error& error) {
    usage_error(error.what());
  }
  if (references) recipe = with_references(recipe);
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
