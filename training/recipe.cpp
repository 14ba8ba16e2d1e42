#include "luxgrad/training/recipe.h"

#include "luxgrad/tensor/text.h"
#include "luxgrad/training/recipes/recipes.h"

namespace lux {
namespace {

std::vector<RecipeRow> rows_of(const std::string& model) {
  std::vector<RecipeRow> rows;
  for (const auto list : {reference_guided_recipes(), mirnet_keras_recipes(), mirnet_v1_recipes(),
                          mirnet_v2_recipes(), gan_recipes(), zero_dce_recipes(), unet_recipes()}) {
    for (const RecipeRow& row : list) {
      if (model == row.model) rows.push_back(row);
    }
  }
  return rows;
}

std::string range(const double (&bounds)[2]) {
  return cat(exact_text(bounds[0]), " to ", exact_text(bounds[1]));
}

const char* name_of(AdamForm form) {
  return form == AdamForm::torch ? "torch" : form == AdamForm::keras ? "keras" : "tf1";
}

const char* name_of(Interpolation mode) {
  constexpr const char* kNames[] = {"nearest", "bilinear", "area", "lanczos"};
  return kNames[static_cast<size_t>(mode)];
}

const char* name_of(Turns turns) {
  return turns == Turns::none ? "none" : turns == Turns::flips ? "flips" : "all";
}

// "cosine 46: 0.0002 to 0.0003, cosine 104: 0.0002 to 1e-06"
std::string text_of(const std::vector<Phase>& rate) {
  std::string text;
  for (const Phase& phase : rate) {
    text += cat(text.empty() ? "" : ", ", phase.curve == Phase::Curve::linear ? "line " : "cosine ",
                exact_text(phase.length), ": ", exact_text(phase.from), " to ", exact_text(phase.to));
  }
  return text;
}

std::string text_of(const std::vector<Stage>& stages) {
  std::string text;
  for (const Stage& stage : stages) {
    text += cat(text.empty() ? "" : ", ", exact_text(stage.share), ": ", stage.batch, " x ", stage.size);
  }
  return text;
}

// What only some recipes do; a recipe that does none of it says nothing of it.
void add_rare_facts(const Recipe& recipe, std::map<std::string, std::string>& facts) {
  if (recipe.rate.size() > 1) facts["rate"] = text_of(recipe.rate);
  if (recipe.rate_by_epoch) facts["rate.by_epoch"] = "true";
  if (recipe.warm_up > 0) facts["rate.warm_up"] = exact_text(recipe.warm_up);
  if (recipe.plateau) facts["rate.plateau"] = "true";
  if (recipe.patience > 0) facts["patience"] = std::to_string(recipe.patience);
  if (!recipe.stages.empty()) facts["stages"] = text_of(recipe.stages);
  if (recipe.overfit > 0) facts["overfit"] = std::to_string(recipe.overfit);
  if (recipe.replacement) facts["replacement"] = "true";
  if (recipe.validation > 0) facts["validation"] = exact_text(recipe.validation);
  if (recipe.squares) facts["squares.repeats"] = std::to_string(recipe.repeats);
  const bool resized = recipe.size > 0 && !recipe.squares && !recipe.relight;
  if (recipe.turns != (resized ? Turns::none : Turns::all)) facts["turns"] = name_of(recipe.turns);
  if (recipe.gain) facts["gain"] = cat(exact_text(recipe.gain->low), " to ", exact_text(recipe.gain->high));
  if (recipe.patch > 0) facts["patch"] = std::to_string(recipe.patch);
  if (recipe.mix_up) {
    facts["mix_up.beta"] = exact_text(recipe.mix_up->beta);
    facts["mix_up.first_epoch"] = std::to_string(recipe.mix_up->first_epoch);
    facts["mix_up.each"] = recipe.mix_up->each ? "true" : "false";
    facts["mix_up.or_not"] = recipe.mix_up->or_not ? "true" : "false";
  }
}

}  // namespace

std::vector<std::string> recipe_names(const std::string& model) {
  std::vector<std::string> names;
  for (const RecipeRow& row : rows_of(model)) names.emplace_back(row.name);
  return names;
}

std::vector<std::pair<std::string, std::string>> compat_names(const std::string& model) {
  std::vector<std::pair<std::string, std::string>> names;
  for (const RecipeRow& row : rows_of(model)) {
    if (*row.compat != '\0' && (names.empty() || names.back().first != row.compat))
      names.emplace_back(row.compat, row.compat_text);
  }
  return names;
}

Recipe make_recipe(const std::string& model, const std::string& name, const std::string& compat) {
  const std::vector<RecipeRow> rows = rows_of(model);
  check(!rows.empty(), "recipe: there is none for model '", model, "'");
  const RecipeRow* found = nullptr;
  std::string known;
  for (const RecipeRow& row : rows) {
    if (name == row.name) found = &row;
    known += cat(known.empty() ? "" : ", ", row.name);
  }
  if (found == nullptr && name == "default") found = rows.data();
  check(found != nullptr, "recipe: expected for ", model, " one of ", known, ", got '", name, "'");
  check(compat.empty() || compat == found->compat, "recipe: expected for ", model, " ",
        *found->compat == '\0' ? "no artefact" : found->compat, ", got '", compat, "'");
  return found->make(compat);
}

Recipe with_references(Recipe recipe) {
  constexpr int64_t kSquares = 8;  // pairs are more than photos
  if (!recipe.relight) return recipe;
  recipe.relight.reset();
  recipe.squares = true;
  recipe.repeats = kSquares;
  return recipe;
}

Recipe without_references(Recipe recipe) {
  constexpr int64_t kSide = 128, kSquares = 64;  // photos are few
  constexpr double kGamma = 1.5;                 // at most; mid-gray sinks by another 1.2 stops
  if (recipe.relight || !recipe.objective->needs_references()) return recipe;
  recipe.relight = RelightOptions{};
  recipe.relight->gamma[1] = kGamma;
  recipe.squares = false;
  recipe.repeats = kSquares;
  recipe.patch = 0;
  if (recipe.size == 0) recipe.size = kSide;
  return recipe;
}

Recipe overfitting(Recipe recipe, int64_t pictures) {
  constexpr int64_t kSide = 48, kSteps = 400;
  recipe.overfit = recipe.batch = pictures;
  recipe.size = kSide;
  recipe.steps = kSteps;
  recipe.rate.clear();
  recipe.stages.clear();
  recipe.mix_up.reset();
  recipe.gain.reset();
  recipe.warm_up = 0;
  recipe.rate_by_epoch = recipe.plateau = recipe.shuffle = recipe.replacement = recipe.drop_last = false;
  recipe.validation = 0;
  recipe.patience = 0;
  recipe.patch = 0;
  recipe.repeats = 1;
  recipe.squares = !recipe.relight;
  recipe.turns = Turns::none;
  if (auto objective = recipe.objective->without_chance()) recipe.objective = std::move(objective);
  return recipe;
}

std::map<std::string, std::string> facts_of(const Recipe& recipe) {
  std::map<std::string, std::string> facts{
      {"recipe", recipe.name},
      {"init", recipe.glorot_init ? "glorot" : "authors"},
      {"adam.form", name_of(recipe.adam.form)},
      {"adam.lr", exact_text(recipe.adam.lr)},
      {"adam.lr_end", recipe.rate.empty() ? "0" : exact_text(recipe.rate.back().to)},
      {"adam.beta1", exact_text(recipe.adam.beta1)},
      {"adam.beta2", exact_text(recipe.adam.beta2)},
      {"adam.eps", exact_text(recipe.adam.effective_eps())},
      {"adam.weight_decay", exact_text(recipe.adam.weight_decay)},
      {"adam.decoupled", recipe.adam.decoupled ? "true" : "false"},
      {"clip_norm", exact_text(recipe.clip_norm)},
      {"batch", std::to_string(recipe.batch)},
      {"size", std::to_string(recipe.size)},
      {"shuffle", recipe.shuffle ? "true" : "false"},
      {"drop_last", recipe.drop_last ? "true" : "false"},
      {"resize.mode", name_of(recipe.resize.mode)},
      {"resize.eight_bit", recipe.resize.eight_bit ? "true" : "false"},
  };
  add_rare_facts(recipe, facts);
  if (recipe.relight) {
    const RelightOptions& o = *recipe.relight;
    facts["relight.dark_share"] = exact_text(o.dark_share);
    facts["relight.dark_stops"] = range(o.dark_stops);
    facts["relight.dim_stops"] = range(o.dim_stops);
    facts["relight.deep_share"] = exact_text(o.deep_share);
    facts["relight.black"] = exact_text(o.black);
    if (o.gamma[0] != 1 || o.gamma[1] != 1) facts["relight.gamma"] = range(o.gamma);
    facts["relight.white_balance"] = exact_text(o.white_balance);
    facts["relight.shot_variance"] = range(o.shot_variance);
    facts["relight.read_deviation"] = range(o.read_deviation);
    facts["relight.exposure"] = exact_text(recipe.exposure);
    facts["relight.repeats"] = std::to_string(recipe.repeats);
  }
  facts.merge(recipe.objective->facts());
  return facts;
}

}  // namespace lux
