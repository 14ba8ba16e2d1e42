#include "luxgrad/tools/about_model.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "luxgrad/models/enhance.h"
#include "luxgrad/models/layer_table.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/training/step_memory.h"

namespace lux {
namespace {

using Json = nlohmann::ordered_json;

Json list_of(const Shape& shape) {
  Json list = Json::array();
  for (int d = 0; d < shape.rank(); ++d) list.push_back(shape[d]);
  return list;
}

Json about_layers(const std::vector<LayerRow>& rows) {
  Json list = Json::array();
  for (const LayerRow& row : rows) {
    Json entry = {{"name", row.name}, {"kind", nullptr}, {"output", nullptr}};
    if (!row.kind.empty()) {
      entry["kind"] = row.kind;
      entry["output"] = list_of(row.output);
    }
    entry["parameters"] = row.parameters;
    entry["macs"] = row.macs;
    list.push_back(std::move(entry));
  }
  return list;
}

Json about_training(const Model& model, const AboutSizes& sizes) {
  TrainOptions options;
  options.model = model.name();
  options.model_config = model.config();
  options.recipe = make_recipe(model.name(), "default");
  Stage stage = largest_step(options.recipe);
  if (sizes.batch > 0) stage.batch = sizes.batch;
  const int64_t width = sizes.given ? sizes.width : stage.size,
                height = sizes.given ? sizes.height : stage.size;
  Json entry = {{"recipe", options.recipe.name},
                {"batch", stage.batch},
                {"width", width},
                {"height", height},
                {"memory_bytes", nullptr},
                {"memory_bytes_recompute", nullptr},
                {"loader_bytes", nullptr}};
  if (width == 0) return entry;  // whole pictures, of whatever size they have
  const int64_t pixels = stage.batch * height * width;
  entry["memory_bytes"] = predicted_step_memory(options, pixels);
  options.recompute = true;
  if (model.traits().blocks) entry["memory_bytes_recompute"] = predicted_step_memory(options, pixels);
  const int64_t pictures = options.recipe.objective->needs_references() ? 2 : 1;
  entry["loader_bytes"] = loader_bytes({}, LoaderOptions{}.cache_bytes,
                                       pictures * pixels * 3 * static_cast<int64_t>(sizeof(float)));
  return entry;
}

// `text` in a column, flush left or right.
std::string column(const std::string& text, size_t width, bool right = false) {
  const std::string space(width - std::min(width, text.size()), ' ');
  return right ? space + text : text + space;
}

// 12345678 -> 12,345,678
std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string text_of_shape(const Json& shape) {
  if (shape.is_null()) return "";
  std::string text;
  for (const Json& size : shape) text += cat(text.empty() ? "[" : ", ", size.get<int64_t>());
  return text + "]";
}

void print_layers(const Json& about) {
  size_t longest = 5;
  for (const Json& layer : about["layers"])
    longest = std::max(longest, layer["name"].get_ref<const std::string&>().size());
  const auto print = [&](const std::string& name, const std::string& kind, const std::string& output,
                         const std::string& parameters, const std::string& macs) {
    print_result(cat("  ", column(name, longest), "  ", column(kind, 16), "  ", column(output, 22),
                     column(parameters, 11, true), column(macs, 19, true)));
  };
  print("layer", "kind", "output", "parameters", "multiply-adds");
  for (const Json& layer : about["layers"]) {
    print(layer["name"], layer["kind"].is_null() ? "training only" : layer["kind"].get<std::string>(),
          text_of_shape(layer["output"]), grouped(layer["parameters"]), grouped(layer["macs"]));
  }
  print("all", "", "", grouped(about["parameters"]), grouped(about["macs"]));
}

void print_memory(const Json& about, const std::string& size) {
  const auto band = about["memory_band"].get<int64_t>();
  print_result(cat("  memory      about ", megabytes(about["memory_bytes"]), " for ", size, ", ",
                   band > 0 ? cat(band, " rows at a time") : "as a whole"));
  print_result(cat("  optimum     ", megabytes(about["memory_optimum_bytes"]),
                   " as a whole, if every tensor went after its last reader"));
  if (about.contains("memory_measured_bytes"))
    print_result(cat("  measured    ", megabytes(about["memory_measured_bytes"])));
}

void print_training(const Json& training) {
  const std::string what = cat("one step of ", training["recipe"].get<std::string>(), ", ",
                               training["batch"].get<int64_t>(), " x ");
  if (training["memory_bytes"].is_null()) {
    print_result(cat("  training    ", what, "whole pictures: --size says how large they are"));
    return;
  }
  const Json& again = training["memory_bytes_recompute"];
  print_result(cat("  training    ", megabytes(training["memory_bytes"]), " predicted",
                   again.is_null() ? "" : cat(", ", megabytes(again), " with --recompute"), ", for ", what,
                   training["width"].get<int64_t>(), "x", training["height"].get<int64_t>(),
                   "; besides, at most ", megabytes(training["loader_bytes"]), " of pictures in the loader"));
}

}  // namespace

std::string about_model(const Model& model, const AboutSizes& sizes) {
  const std::vector<LayerRow> rows = layer_table(model, sizes.height, sizes.width);
  const ModelTraits traits = model.traits();
  const Sight sight = sight_of(model);
  int64_t macs = 0;
  for (const LayerRow& row : rows) macs += row.macs;
  Json about = {{"name", model.name()},
                {"options", model.config()},
                {"parameters", model.parameter_count()},
                {"width", sizes.width},
                {"height", sizes.height},
                {"macs", macs},
                {"size_multiple", traits.size_multiple},
                {"global", traits.global},
                {"halo", sight.halo},
                {"tile_grid", sight.grid},
                {"tile_margin", sight.margin},
                {"layers", about_layers(rows)},
                {"memory_bytes", predicted_peak(model, sizes.height, sizes.width)},
                {"memory_band", enhance_plan(model, sizes.height, sizes.width).band},
                {"memory_optimum_bytes", Liveness(model).optimum(sizes.height, sizes.width)}};
  if (sizes.measure)
    about["memory_measured_bytes"] = measure_peak(model, sizes.height, sizes.width, kAsCommand);
  about["training"] = about_training(model, sizes);
  return about.dump();
}

void print_model(const std::string& text) {
  const Json about = Json::parse(text);
  const std::string size = cat(about["width"].get<int64_t>(), "x", about["height"].get<int64_t>());
  print_result(cat(about["name"].get<std::string>(), " on a picture of ", size));
  print_layers(about);
  const auto multiple = about["size_multiple"].get<int64_t>();
  print_result(cat("  sizes       any", multiple == 1 ? "" : cat("; padded to multiples of ", multiple)));
  print_result(cat("  sees        ",
                   about["global"].get<bool>() ? "statistics of the whole picture, and " : "",
                   "pixels at most ", about["halo"].get<int64_t>(), " away"));
  print_result(cat("  tiles       begin at multiples of ", about["tile_grid"].get<int64_t>(), ", and read ",
                   about["tile_margin"].get<int64_t>(), " pixels around them"));
  print_memory(about, size);
  print_training(about["training"]);
}

}  // namespace lux
