#include "luxgrad/tools/commands.h"

#include <CLI/CLI.hpp>
#include <array>

#include "luxgrad/tools/words.h"

namespace lux {
namespace {

constexpr std::array<CommandEntry, 14> kCommands = {{
    {"enhance", "Brighten dark photos.", "luxgrad enhance -i dark.jpg -o bright.jpg", make_enhance},
    {"video", "Brighten a video, with its sound.", "luxgrad video -i night.mp4 -o bright.mp4", make_video},
    {"lut", "Turn what a model does to a photo into a table of colours.",
     "luxgrad lut -i dark.jpg -o look.cube", make_lut},
    {"evaluate", "Measure a model on pairs of dark and bright photos.",
     "luxgrad evaluate -n zero_dce --low photos/low --high photos/high", make_evaluate},
    {"train", "Train a model on a folder of photos.",
     "luxgrad train zero_dce --data photos --run runs/first --epochs 10", make_train},
    {"pack", "Pack pairs of photos of one size into one file.",
     "luxgrad pack pairs/low pairs/high -o pairs.npz --size 256x256", make_pack},
    {"gradcheck", "Compare every gradient with finite differences.", "luxgrad gradcheck --filter conv2d",
     make_gradcheck},
    {"parity", "Compare the operators of two devices, precisions or kernels.",
     "luxgrad parity -n unet --with cpu/bf16", make_parity},
    {"info", "Show this program, its models, or what is in a file.", "luxgrad info unet --size 640x480",
     make_info},
    {"verify", "Read files whole and name the damaged ones.", "luxgrad verify runs/first", make_verify},
    {"convert", "Turn weights of PyTorch, NumPy or this program into safetensors or .npz.",
     "luxgrad convert Epoch99.pth zero_dce.safetensors --verify", make_convert},
    {"bench", "Time inference and training.", "luxgrad bench -n zero_dce", make_bench},
    {"completion", "Print what completes command lines in bash, zsh or fish.",
     "luxgrad completion bash > ~/.local/share/bash-completion/completions/luxgrad", make_completion},
    {"man", "Print a manual page.", "luxgrad man enhance | man -l -", make_man},
}};

OptionText text_of(CLI::Option& option) {
  return {option.get_snames(), option.get_lnames(), option.get_type_size() == 0 ? "" : option.get_type_name(),
          option.get_description(), words_of(option)};
}

}  // namespace

std::span<const CommandEntry> commands() { return kCommands; }

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  names.reserve(kCommands.size());
  for (const CommandEntry& entry : kCommands) names.emplace_back(entry.name);
  return names;
}

const char* const kExitCodes =
    R"(Exit codes: 0 done, 1 some inputs failed, 2 usage, 3 input refused, 4 weights do not fit or run folder in
use, 5 numbers not finite or device missing, 6 memory or disk exhausted or an output that cannot be written,
7 a check failed, 128 + n ended by signal n.)";

std::vector<OptionText> options_of(const CommandEntry& entry) {
  CLI::App app;
  app.set_help_flag("-h,--help", "Show this text");
  const std::unique_ptr<Command> command = entry.make(app);
  std::vector<OptionText> options;
  for (CLI::Option* const option : app.get_options()) {
    if (option->get_lnames().empty() && option->get_snames().empty()) continue;  // by its place
    options.push_back(text_of(*option));
  }
  return options;
}

OptionText first_argument_of(const CommandEntry& entry) {
  CLI::App app;
  const std::unique_ptr<Command> command = entry.make(app);
  for (CLI::Option* const option : app.get_options()) {
    if (option->get_positional()) return text_of(*option);
  }
  return {};
}

}  // namespace lux
