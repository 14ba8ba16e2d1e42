#include "luxgrad/tools/model_choice.h"

#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "luxgrad/data/safetensors.h"
#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/models/default_weights.h"
#include "luxgrad/models/official_weights.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/exit_code.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/precision_choice.h"
#include "luxgrad/tools/words.h"
#include "luxgrad/training/checkpoint.h"

namespace fs = std::filesystem;

namespace lux {
namespace {

constexpr const char* kDefaultModel = "zero_dce";

// Strings, not paths: one of libstdc++ that finds no memory for its parts ends the program.
void add_folders(std::vector<std::string>& folders, const char* colon_separated, const char* below) {
  const std::string list = colon_separated == nullptr ? "" : colon_separated;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(':', begin), list.size());
    if (end > begin) folders.push_back(cat(list.substr(begin, end - begin), below));
    begin = end + 1;
  }
}

/// The folders that may hold <model>.safetensors, first choice first.
std::vector<std::string> weight_folders() {
  std::vector<std::string> folders;
  add_folders(folders, std::getenv("LUX_MODELS"), "");
  const char* data_home = std::getenv("XDG_DATA_HOME");
  const char* home = std::getenv("HOME");
  if (data_home != nullptr && *data_home != '\0') {
    add_folders(folders, data_home, "/luxgrad");
  } else if (home != nullptr && *home != '\0') {
    folders.push_back(cat(home, "/.local/share/luxgrad"));
  }
  const char* data_dirs = std::getenv("XDG_DATA_DIRS");
  add_folders(folders, data_dirs != nullptr && *data_dirs != '\0' ? data_dirs : "/usr/local/share:/usr/share",
              "/luxgrad");
  std::error_code error;
  if (const fs::path binary = fs::read_symlink("/proc/self/exe", error); !error)
    folders.push_back(binary.parent_path().string());
  return folders;
}

std::optional<std::string> find_weights(const std::string& model) {
  for (const std::string& folder : weight_folders()) {
    std::string path = cat(folder, "/", model, ".safetensors");
    struct stat status {};
    if (stat(path.c_str(), &status) == 0) return path;
  }
  return {};
}

// A line for each.
std::string option_list() {
  std::string text;
  for (const std::string& model : model_names()) {
    for (const OptionInfo& option : model_options(model))
      text += cat("\n  ", option.name, "=", option.values, " (", model, "): ", option.text);
  }
  return text;
}

/// The network for the weights in a file, without values.
std::unique_ptr<Model> network_for(const ModelChoice& choice, const Metadata& metadata, const State& state,
                                   const std::string& source) {
  const ModelConfig config = config_of(choice);
  std::string name = choice.name;
  if (name.empty() && !metadata.contains("model")) name = model_of_weights(state);
  if (name.empty() && !metadata.contains("model"))
    throw CommandError(ExitCode::mismatch,
                       cat(source, ": the weights are of no model known here; -n names one"));
  if (!config.empty() && !name.empty()) {
    try {
      make_model(name, config);
    } catch (const Error& error) {
      usage_error(error.what());
    }
  }
  try {
    return make_model_from(metadata, name, config);
  } catch (const Error& error) {
    throw CommandError(ExitCode::mismatch, error.what());
  }
}

Device device_of(const std::string& name) {
  if (name == "cpu" || name == "-1") return kCpu;
  const bool cuda = name == "cuda" || name == "cuda:0";
  check_usage(cuda || name == "auto", "--device: expected auto, cpu or cuda:0, got ", name);
  const std::string absence = absence_of_cuda();
  if (absence.empty() && (cuda || cuda::is_real())) return {Device::Type::cuda, 0};
  if (cuda) throw CommandError(ExitCode::stopped, cat("--device ", name, ": ", absence, "; use cpu"));
  return kCpu;
}

}  // namespace

std::string absence_of_cuda() {
  std::string absence = cuda::absence();
  if (!absence.empty() || !cuda::has_libraries()) return absence;
  try {
    cuda::start_vendor_libraries({cuda::stream, cuda::synchronize});
  } catch (const Error& error) {
    absence = error.what();
  }
  return absence;
}

CommandError misfit(const std::string& list) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find('\n', begin), list.size());
    const size_t text = std::min(list.find_first_not_of(' ', begin), end);
    lines.push_back(list.substr(text, end - text));
    begin = end + 1;
  }
  const std::string head = lines.front();
  lines.erase(lines.begin());
  return {ExitCode::mismatch, head, lines};
}

void add_model_options(CLI::App& app, ModelChoice& choice) {
  app.add_option("-n,--model", choice.name,
                 "Name of the model (default: what the weights say, else zero_dce)")
      ->type_name("NAME")
      ->check(offers(model_names()));
  app.add_option("-m,--weights", choice.weights,
                 "Weights: safetensors, .npz or .pth (default: searched, then built in)")
      ->type_name("FILE");
  add_network_options(app, choice);
}

void add_network_options(CLI::App& app, ModelChoice& choice) {
  app.add_option("--scale-factor", choice.scale_factor,
                 "zero_dce_plus: the network looks at the picture this many times smaller")
      ->type_name("N")
      ->check(CLI::Range(1, 64).description(""));
  app.add_option("--option", choice.options,
                 cat("An option of the network, for example concat=keras; defaults first:", option_list()))
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

ModelConfig config_of(const ModelChoice& choice) {
  ModelConfig config;
  for (const std::string& option : choice.options) {
    const size_t equals = option.find('=');
    check_usage(equals != std::string::npos && equals > 0, "--option: expected NAME=VALUE, got ", option);
    config[option.substr(0, equals)] = option.substr(equals + 1);
  }
  if (choice.scale_factor > 0) config["scale_factor"] = std::to_string(choice.scale_factor);
  return config;
}

void check_model_name(const std::string& name) {
  const std::vector<std::string> names = model_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  const std::string meant = nearest(name, names);
  usage_error("unknown model ", name,
              meant.empty() ? "; luxgrad info lists them" : cat(", did you mean ", meant, "?"));
}

LoadedModel load_model(const ModelChoice& choice, Device device) {
  if (!choice.name.empty()) check_model_name(choice.name);
  const std::string name = choice.name.empty() ? kDefaultModel : choice.name;
  LoadedModel loaded;
  Weights file;
  if (!choice.weights.empty()) {
    loaded.source = choice.weights;
  } else if (const auto found = find_weights(name)) {
    loaded.source = *found;
  }
  if (!loaded.source.empty()) {
    file = load_weights(loaded.source);
  } else {
    const std::span<const uint8_t> bytes = default_weights(name);
    if (bytes.empty())
      throw CommandError(ExitCode::mismatch, cat("no weights for ", name, " here; name a file with -m"));
    loaded.source = "built in";
    TensorFile content = parse_safetensors(bytes).in_file(loaded.source).value();
    file = {std::move(content.tensors), std::move(content.metadata), true};
  }
  loaded.model = network_for(choice, file.metadata, file.state, loaded.source);
  try {
    loaded.model->load_state_dict(adapted_weights(*loaded.model, file.state));
  } catch (const StateMismatch& error) {
    throw misfit(cat(loaded.source, ": ", error.what()));
  }
  try {
    loaded.model->to(device);
  } catch (const cuda::OutOfDeviceMemory& error) {
    print_note(cat(loaded.source, ": runs on the CPU, for ", error.what()));
    loaded.model->to(kCpu);  // what had moved
  }
  loaded.metadata = std::move(file.metadata);
  return loaded;
}

void add_device_options(CLI::App& app, RunsOn& where) {
  app.add_option("-j,--threads", where.threads, "CPU threads (default: all that this process may use)")
      ->type_name("N")
      ->check(CLI::Range(1, kMaxThreads).description(""));
  add_device_option(app, where);
}

void add_device_option(CLI::App& app, RunsOn& where) {
  app.add_option("-g,--device", where.device, "auto, cpu or cuda:0 (default auto)")
      ->type_name("DEVICE")
      ->check(offers({"auto", "cpu", "cuda:0"}));
}

void add_autotune_option(CLI::App& app, RunsOn& where) {
  app.add_flag("--autotune", where.autotune,
               "On a GPU: time the engines that convolutions may run by, and remember the fastest");
}

Device apply(const RunsOn& where) {
  const Device device = device_of(where.device);
  try {  // what the environment says is usage, too
    cpu::isa();
    wanted_kernels();
    if (const int threads = num_threads(); where.threads > 0 && where.threads != threads)
      set_num_threads(where.threads);
  } catch (const Error& error) {
    usage_error(error.what());
  }
  apply_precision(where.precision, device);
  return device;
}

}  // namespace lux
