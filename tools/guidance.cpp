#include "luxgrad/tools/guidance.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tools/exit_code.h"
#include "luxgrad/tools/number_option.h"
#include "luxgrad/tools/words.h"

namespace lux {
namespace {

using json = nlohmann::ordered_json;

constexpr int64_t kMaxLookBytes = int64_t{1} << 20;

// {"model": "reference_guided", "looks": [[96 numbers], ...]}
void save_looks(const std::string& path, const Tensors& looks) {
  json file = {{"model", "reference_guided"}, {"looks", json::array()}};
  for (const Tensor& look : looks) file["looks"].push_back(look.to_vector());
  const std::string text = file.dump(1) + "\n";
  (void)write_file_atomically(path, bytes_of(text)).value();
}

Tensor look_from(const json& numbers, int64_t lum_dim, const std::string& path) {
  const auto fits = [](const json& value) { return value.is_number() && std::isfinite(value.get<float>()); };
  if (!numbers.is_array() || numbers.size() != static_cast<size_t>(lum_dim) ||
      !std::all_of(numbers.begin(), numbers.end(), fits)) {
    throw FileException(
        {FileErrorCode::malformed, path, -1, cat("expected looks of ", lum_dim, " finite numbers each")});
  }
  return from_vector(numbers.get<std::vector<double>>(), {1, lum_dim});
}

Tensors load_looks(const ReferenceGuided& model, const std::string& path) {
  const std::vector<uint8_t> bytes = read_file(path, kMaxLookBytes).value();
  const json file = json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (!file.is_object() || file.value("model", json()) != json("reference_guided") ||
      !file.contains("looks") || !file["looks"].is_array() || file["looks"].empty()) {
    throw FileException({FileErrorCode::malformed, path, -1, "it is no file of looks"});
  }
  Tensors looks;
  for (const json& numbers : file["looks"])
    looks.push_back(look_from(numbers, model.options().lum_dim, path));
  return looks;
}

Tensor look_of_picture(const ReferenceGuided& model, const std::string& path) {
  const Tensor look = model.look_of(to_tensor(load_image(path))).to(kCpu);
  check_finite(look, path);
  return look;
}

void guide(const Guidance& guidance, ReferenceGuided& model) {
  Tensors looks;
  for (const std::string& path : guidance.references) looks.push_back(look_of_picture(model, path));
  if (!guidance.save_look.empty()) {
    check_usage(!looks.empty(), "--save-look saves the looks of pictures given with --reference");
    save_looks(guidance.save_look, looks);
  }
  if (!guidance.look.empty()) {
    for (Tensor& look : load_looks(model, guidance.look)) looks.push_back(std::move(look));
  }
  model.set_looks(std::move(looks));
}

void set_inference(const Guidance& guidance, Gan& gan) {
  const bool published = guidance.compat == "published";
  gan.set_inference({guidance.statistics == "running" ? BatchNormMode::running : BatchNormMode::batch,
                     published ? 0.5 : 0.0, guidance.seed, published});
}

std::string title_of(const Model& model, std::string text) {
  const ModelConfig config = model.config();
  for (const OptionInfo& option : model_options(model.name())) {
    const std::string_view values = option.values;
    const std::string& value = config.at(option.name);
    if (value == values.substr(0, values.find(','))) continue;
    text += cat(text.empty() ? "" : ", ", option.name, "=", value);
  }
  return text.empty() ? model.name() : cat(model.name(), " (", text, ")");
}

std::string statistics_of(const Guidance& guidance) {
  return guidance.statistics.empty() ? "batch" : guidance.statistics;
}

void check_fits(const Guidance& guidance, const Model& model) {
  const bool looks = !guidance.references.empty() || !guidance.look.empty() || !guidance.save_look.empty();
  check_usage(dynamic_cast<const ReferenceGuided*>(&model) != nullptr || !looks,
              "--reference, --look and --save-look are for reference_guided, not for ", model.name());
  const bool modes = !guidance.statistics.empty() || !guidance.compat.empty() || guidance.seed != 0;
  check_usage(dynamic_cast<const Gan*>(&model) != nullptr || !modes,
              "--bn, --compat and --seed are for gan, not for ", model.name());
}

}  // namespace

void add_guidance_options(CLI::App& app, Guidance& guidance) {
  app.add_option("--reference", guidance.references,
                 "reference_guided: pictures to be as bright as; of several, results are averaged")
      ->type_name("FILE...");
  app.add_option("--save-look", guidance.save_look, "reference_guided: keep the look of the references")
      ->type_name("FILE.json");
  app.add_option("--look", guidance.look, "reference_guided: a look that was kept")->type_name("FILE.json");
  add_statistics_options(app, guidance);
  app.add_option("--seed", guidance.seed, "gan: of the dropout (default 0)")
      ->type_name("S")
      ->check(whole_number());
}

void add_statistics_options(CLI::App& app, Guidance& guidance) {
  app.add_option("--bn", guidance.statistics,
                 "gan: statistics that normalise, of the picture (batch, default) or of training (running)")
      ->type_name("KIND")
      ->check(one_of({"batch", "running"}));
}

void add_compat_option(CLI::App& app, Guidance& guidance) {
  app.add_option("--compat", guidance.compat, "gan: published, with its dropout and stretch of contrast")
      ->type_name("NAME")
      ->check(one_of({"published"}));
}

void add_inputs(const Guidance& guidance, Outputs& outputs) {
  for (const std::string& path : guidance.references) outputs.add_input(path);
  if (!guidance.look.empty()) outputs.add_input(guidance.look);
}

void apply(const Guidance& guidance, Model& model) {
  check_fits(guidance, model);
  if (auto* const guided = dynamic_cast<ReferenceGuided*>(&model)) guide(guidance, *guided);
  if (auto* const gan = dynamic_cast<Gan*>(&model)) set_inference(guidance, *gan);
}

ModelConfig settings_of(const Guidance& guidance, const Model& model) {
  ModelConfig settings = model.config();
  if (dynamic_cast<const Gan*>(&model) == nullptr) return settings;
  settings["bn"] = statistics_of(guidance);
  settings["compat"] = guidance.compat.empty() ? "none" : guidance.compat;
  return settings;
}

std::vector<Guide> guides_of(const Guidance& guidance, Model& model) {
  check_fits(guidance, model);
  if (auto* const gan = dynamic_cast<Gan*>(&model)) {
    set_inference(guidance, *gan);
    const std::string published = guidance.compat.empty() ? "" : cat(", ", guidance.compat);
    return {{title_of(model, cat(statistics_of(guidance), " statistics", published))}};
  }
  const auto* const guided = dynamic_cast<const ReferenceGuided*>(&model);
  if (guided == nullptr) return {{title_of(model, "")}};
  const auto title = [&](const std::string& text) { return title_of(model, text); };
  std::vector<Guide> guides;
  for (const std::string& path : guidance.references) {
    if (path == "own") {
      guides.push_back({title("own references"), true});
    } else {
      guides.push_back({title(path), false, {look_of_picture(*guided, path)}});
    }
  }
  if (!guidance.look.empty())
    guides.push_back({title(guidance.look), false, load_looks(*guided, guidance.look)});
  if (guides.empty()) guides.push_back({title("neutral look")});
  return guides;
}

Tensor enhance(Model& model, const Guide& guide, const Tensor& low, const Tensor& high,
               const EnhanceOptions& options) {
  if (auto* const guided = dynamic_cast<ReferenceGuided*>(&model))
    guided->set_looks(guide.own ? Tensors{guided->look_of(high)} : guide.looks);
  return enhance(model, low, options);
}

}  // namespace lux
