// luxgrad info: this program and its machine; or a network; or what is in a picture or a weight file.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "luxgrad/data/image.h"
#include "luxgrad/data/tensor_file.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/about_model.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/words.h"

namespace lux {
namespace {

using Json = nlohmann::ordered_json;

Json about_weights(const std::string& model) {
  try {
    const LoadedModel loaded = load_model({.name = model});
    return {{"source", loaded.source}, {"metadata", loaded.metadata}};
  } catch (const std::exception& error) {
    return {{"source", nullptr}, {"error", error.what()}};
  }
}

/// The device, once `absence_of_cuda` has started it.
Json about_gpu() {
  if (!cuda::has_libraries())
    return {{"libraries", "none: the CPU plays the device"}, {"description", nullptr}};
  Json description = Json::parse(cuda::vendor_device(), nullptr, false);
  return {{"libraries", cuda::vendor_versions()},
          {"description", description.is_discarded() ? Json(cuda::vendor_device()) : std::move(description)}};
}

Json about_program(bool measure) {
  const std::string no_cuda = absence_of_cuda();
  Json devices = {"cpu"};
  if (no_cuda.empty()) devices.push_back("cuda:0");
  Json all = {{"version", LUX_VERSION},
              {"instruction_set", instruction_set()},
              {"threads", num_threads()},
              {"devices", devices},
              {"models", Json::array()}};
  if (!no_cuda.empty()) all["no_cuda"] = no_cuda;
  if (no_cuda.empty()) all["cuda"] = about_gpu();
  for (const ModelInfo& info : models()) {
    const std::unique_ptr<Model> model = make_model(info.name);
    Json entry = {{"name", info.name},
                  {"title", info.title},
                  {"paper", info.paper},
                  {"parameters", info.parameters},
                  {"options", info.options},
                  {"weights", about_weights(info.name)},
                  {"memory_bytes", predicted_peak(*model, kStatedHeight, kStatedWidth)},
                  {"memory_optimum_bytes", Liveness(*model).optimum(kStatedHeight, kStatedWidth)}};
    if (measure)
      entry["memory_measured_bytes"] = measure_peak(*model, kStatedHeight, kStatedWidth, kAsCommand);
    all["models"].push_back(std::move(entry));
  }
  return all;
}

/// The network of a weight file, or why there is none.
Json about_network(const std::string& path, const AboutSizes& sizes) {
  try {
    return Json::parse(about_model(*load_model({.weights = path}).model, sizes));
  } catch (const std::exception& error) {
    return {{"error", error.what()}};
  }
}

Json about_file(const std::string& path, const AboutSizes& sizes) {
  if (has_tensor_file_name(path)) {
    const TensorFile file = load_tensor_file(path);
    Json tensors = Json::array();
    int64_t numbers = 0;
    for (const auto& [name, tensor] : file.tensors) {
      numbers += tensor.numel();
      tensors.push_back({{"name", name}, {"shape", cat(tensor.shape())}, {"dtype", name_of(tensor.dtype())}});
    }
    return {{"file", path},
            {"kind", "weights"},
            {"numbers", numbers},
            {"metadata", file.metadata},
            {"tensors", std::move(tensors)},
            {"network", about_network(path, sizes)}};
  }
  const Image image = load_image(path);
  return {{"file", path},
          {"kind", "picture"},
          {"width", image.width},
          {"height", image.height},
          {"channels", image.channels},
          {"bits", image.bits},
          {"alpha", image.has_alpha()},
          {"exif_bytes", image.exif.size()},
          {"icc_bytes", image.icc.size()}};
}

/// A value as people read it; a file may say anything, also to a terminal.
std::string text_of(const Json& value) {
  return value.is_string() ? printable(value.get<std::string>())
                           : value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

void print_program(const Json& all) {
  print_result(cat("luxgrad ", text_of(all["version"])));
  print_result(
      cat("processor  ", text_of(all["instruction_set"]), ", ", text_of(all["threads"]), " threads"));
  print_result(cat("cuda:0     ", all.contains("no_cuda") ? text_of(all["no_cuda"])
                                                          : "ready, " + text_of(all["cuda"]["libraries"])));
  for (const Json& model : all["models"]) {
    print_result(cat("\n", text_of(model["name"]), "  ", text_of(model["title"])));
    print_result(cat("  paper       ", text_of(model["paper"])));
    print_result(cat("  parameters  ", text_of(model["parameters"])));
    for (const auto& [option, value] : model["options"].items())
      print_result(cat("  option      ", option, " (default ", text_of(value), ")"));
    const Json& weights = model["weights"];
    print_result(
        cat("  weights     ", text_of(weights.contains("error") ? weights["error"] : weights["source"])));
    const Json facts = weights.value("metadata", Json::object());
    for (const auto& [key, value] : facts.items())
      print_result(cat("    ", printable(key), " = ", text_of(value)));
    print_result(cat("  memory      ", "about ", megabytes(model["memory_bytes"]), " for ", kStatedWidth, "x",
                     kStatedHeight));
    print_result(cat("  optimum     ", megabytes(model["memory_optimum_bytes"]),
                     " as a whole, if every tensor went after its last reader"));
    if (model.contains("memory_measured_bytes"))
      print_result(cat("  measured    ", megabytes(model["memory_measured_bytes"])));
  }
}

void print_file(const Json& facts) {
  for (const auto& [key, value] : facts.items()) {
    if (key == "tensors") {
      for (const Json& tensor : value)
        print_result(
            cat("  ", text_of(tensor["name"]), " ", text_of(tensor["shape"]), " ", text_of(tensor["dtype"])));
    } else if (key == "network") {
      value.contains("error") ? print_result(cat("network  ", text_of(value["error"])))
                              : print_model(value.dump());
    } else if (key == "metadata") {
      for (const auto& [name, text] : value.items())
        print_result(cat("  ", printable(name), " = ", text_of(text)));
    } else {
      print_result(cat(key, "  ", text_of(value)));
    }
  }
}

class Info final : public Command {
 public:
  explicit Info(CLI::App& app) {
    app.add_option("-i,--input,input", inputs_,
                   "Names of models, pictures or weight files (none: this program)")
        ->type_name("MODEL|FILE")
        ->check(offers(model_names()));
    app.add_option("--size", size_,
                   cat("Size of the pictures that a network is described for (default ", kStatedWidth, "x",
                       kStatedHeight, ", and the recipe's in training)"))
        ->type_name("WxH");
    app.add_option("--batch", sizes_.batch, "Pictures per step of its training (default: the recipe's)")
        ->type_name("N")
        ->check(CLI::Range(1, 1 << 20).description(""));
    add_device_options(app, where_);
    app.add_flag("--memory", sizes_.measure,
                 "Also enhance a picture of that size, and print the memory that took");
    app.add_flag("--json", json_, "Print JSON");
  }

  ExitCode run() override {
    apply(where_);
    read_size();
    if (inputs_.empty()) {
      show(about_program(sizes_.measure), print_program);
      return ExitCode::ok;
    }
    ExitCode last = ExitCode::ok;
    for (const std::string& input : inputs_) {
      try {
        if (is_model(input))
          json_ ? print_result(about_model(*make_model(input), sizes_))
                : print_model(about_model(*make_model(input), sizes_));
        else
          show(about_file(input, sizes_), print_file);
      } catch (...) {
        const Failure failure = failure_of(std::current_exception());
        print_failure(failure);
        last = failure.code;
      }
    }
    return last == ExitCode::ok || inputs_.size() == 1 ? last : ExitCode::some_failed;
  }

 private:
  void show(const Json& facts, void (*as_text)(const Json&)) const {
    json_ ? print_result(facts.dump(-1, ' ', true, Json::error_handler_t::replace)) : as_text(facts);
  }

  static bool is_model(const std::string& input) {
    const std::vector<std::string> names = model_names();
    return std::find(names.begin(), names.end(), input) != names.end();
  }

  void read_size() {
    if (size_.empty()) return;
    sizes_.given = true;
    std::tie(sizes_.width, sizes_.height) = size_from(size_);
  }

  std::vector<std::string> inputs_;
  std::string size_;
  AboutSizes sizes_{.width = kStatedWidth, .height = kStatedHeight};
  RunsOn where_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_info(CLI::App& app) { return std::make_unique<Info>(app); }

}  // namespace lux
