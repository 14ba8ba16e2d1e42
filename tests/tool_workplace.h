// What the tests of the tool share: a folder with weights in it, the tool run there, and tiny pictures.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
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

/// Weights of zero_dce_plus with which a white pixel among others has a sum of f32 that bf16 rounds to
/// infinity, and any other a finite one. Infinity passes the ReLUs by positive weights alone, and ends in
/// 0·∞.
inline void save_near_the_edge(const std::string& path) {
  const std::unique_ptr<lux::Model> model = lux::make_model("zero_dce_plus");
  lux::State state = model->state_dict();
  const auto set = [&](const char* name, int64_t at, double value) {
    state.at(name).data<float>()[at] = static_cast<float>(value);
  };
  constexpr int64_t kMiddle = 4;
  const double colors[] = {171.1, 170.2, 170.1};  // of 512 that are out of range; the tie of bf16 is 511
  for (int64_t c = 0; c < 3; ++c) {
    set("e_conv1.depth_conv.weight", 9 * c + kMiddle, 1);
    set("e_conv1.point_conv.weight", c, std::ldexp(colors[c], 119));
  }
  for (int64_t i = 0; i < 9; ++i) {
    set("e_conv2.depth_conv.weight", i, i == kMiddle ? 1 : std::ldexp(1, -20));
    set("e_conv6.depth_conv.weight", i, 0.125);
  }
  set("e_conv2.point_conv.weight", 0, std::ldexp(1, -126));
  set("e_conv6.point_conv.weight", 0, 1);
  set("e_conv7.depth_conv.weight", 9 * 32 + kMiddle, 1);
  for (int64_t c = 0; c < 3; ++c) set("e_conv7.point_conv.weight", 64 * c + 32, 1);
  lux::save_safetensors(path, {state, lux::to_metadata(*model)});
}

/// Weights of zero_dce_plus whose sums are of large terms that nearly cancel, so that bf16 is far from f32.
inline void save_wild(const std::string& path) {
  const std::unique_ptr<lux::Model> model = lux::make_model("zero_dce_plus");
  model->init_(lux::Generator{7});
  lux::State state = model->state_dict();
  for (auto& [name, tensor] : state) {
    for (int64_t i = 0; i < tensor.numel(); ++i) tensor.data<float>()[i] *= 40;
  }
  lux::save_safetensors(path, {state, lux::to_metadata(*model)});
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
