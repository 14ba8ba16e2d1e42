// Which network a command works with, and where its weights come from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "luxgrad/models/registry.h"
#include "luxgrad/tools/exit_code.h"

namespace CLI {
class App;
}

namespace lux {

struct ModelChoice {
  std::string name{};                  ///< empty: what the weights say, else zero_dce
  std::string weights{};               ///< empty: searched
  std::vector<std::string> options{};  ///< NAME=VALUE
  int64_t scale_factor = 0;            ///< 0: not given
};

/// --scale-factor, --option.
void add_network_options(CLI::App& app, ModelChoice& choice);
/// -n, -m, and the network's.
void add_model_options(CLI::App& app, ModelChoice& choice);

/// The network's options that the command line sets. Throws CommandError for a form other than NAME=VALUE.
ModelConfig config_of(const ModelChoice& choice);

/// Throws CommandError for a name that is not in the registry, with the nearest one that is.
void check_model_name(const std::string& name);

/// Weights that do not fit, with a line for each tensor at fault; `list` is the name of their file and what a
/// StateMismatch says.
CommandError misfit(const std::string& list);

struct LoadedModel {
  std::unique_ptr<Model> model;
  std::string source;  ///< a file name, or "built in"
  Metadata metadata;
};

/// The model with its weights, from the first of: -m, $LUX_MODELS, the XDG data folders, the folder of the
/// binary, the binary itself. Throws FileException for a broken file, CommandError where model and weights do
/// not fit or there are none.
LoadedModel load_model(const ModelChoice& choice, Device device = kCpu);

/// -j and -g.
struct RunsOn {
  int threads = 0;  ///< 0: the machine's
  std::string device = "auto";
  std::string precision = "fp32";
  bool autotune = false;
};
void add_device_options(CLI::App& app, RunsOn& where);
/// -g alone.
void add_device_option(CLI::App& app, RunsOn& where);
/// --autotune, which an Autotuning (tools/autotune.h) acts on.
void add_autotune_option(CLI::App& app, RunsOn& where);
/// Why cuda:0 cannot run a network, as one sentence; empty where it can. Starts it and its libraries.
std::string absence_of_cuda();
/// Sets threads and precision; returns the device: `auto` is the first CUDA device where there is a real one.
/// Throws CommandError when the device, or on it the precision, is not there.
Device apply(const RunsOn& where);

}  // namespace lux
