// What the tests of the tool share: a folder with weights in it, the tool run there, and tiny pictures.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "child_process.h"
#include "instrumented.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"
#include "temporary_folder.h"

namespace fs = std::filesystem;

/// A folder with weights in it, and the tool run there.
class Workplace {
 public:
  Workplace() {
    for (const char* name : {"zero_dce", "zero_dce_plus"}) {
      const std::unique_ptr<lux::Model> model = lux::make_model(name);
      lux::Generator generator{7};
      model->init_(generator);
      lux::save_safetensors(path(std::string(name) + ".safetensors"),
                            {model->state_dict(), lux::to_metadata(*model)});
    }
    fs::create_directory(path("in"));
  }

  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  ChildResult run(std::vector<std::string> arguments, ChildOptions options = {},
                  const std::string& program = LUX_TOOL) const {
    arguments.insert(arguments.begin(), program);
    if (options.folder.empty()) options.folder = folder_.path();
    options.environment.try_emplace("LUX_MODELS", folder_.path());
    options.environment.try_emplace("LUX_THREADS", "2");
    return run_child(scratch_.path(), std::move(arguments), options);
  }

  /// The files in a folder, without their path, sorted.
  std::vector<std::string> files(const std::string& name) const {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(path(name))) {
      if (!entry.is_directory()) found.push_back(fs::relative(entry.path(), path(name)));
    }
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  TemporaryFolder folder_{in_memory()};
  TemporaryFolder scratch_{in_memory()};
};

/// For tests of limits of memory.
inline bool limits_hold() {
  if (kInstrumented) MESSAGE("skipped: sanitizers and gcov take more memory than the limits");
  return !kInstrumented;
}

inline lux::Image noise(int64_t width, int64_t height, int channels = 3, int bits = 8, uint64_t seed = 1) {
  lux::Image image;
  image.allocate(width, height, channels, bits);
  lux::Generator generator{seed};
  for (uint8_t& sample : image.samples) sample = static_cast<uint8_t>(generator.below(90));
  return image;
}

inline void save_noise(const std::string& path, int64_t width = 12, int64_t height = 9, uint64_t seed = 1) {
  lux::save_image(path, noise(width, height, 3, 8, seed));
}

inline std::vector<nlohmann::json> json_lines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline int64_t lines_of(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }
