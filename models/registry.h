// The models by name, and the two sentences that a weight file needs to say which network it belongs to.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "luxgrad/models/model.h"

namespace lux {

/// An option of a network: its name, the values it takes, the default first, and what it changes.
struct OptionInfo {
  const char *name, *values, *text;
};

struct ModelInfo {
  std::string name;
  std::string title;       ///< one line for a list
  std::string paper;       ///< authors, venue, arXiv number
  ModelConfig options;     ///< every option with its default
  int64_t parameters = 0;  ///< with default options
};

/// All models, in a fixed order. Makes each once, to count its parameters.
std::vector<ModelInfo> models();
/// Their names only.
std::vector<std::string> model_names();
/// The options of a model, which is not made for that; none for a name that is unknown.
std::span<const OptionInfo> model_options(std::string_view name);

/// A network without values yet: initialise or load it. Options not given keep their defaults. Throws Error
/// for an unknown name, option or value; the text lists what there is.
std::unique_ptr<Model> make_model(std::string_view name, const ModelConfig& config = {});

/// Text entries of a weight file, e.g. safetensors' `__metadata__`.
using Metadata = std::map<std::string, std::string>;

/// `model` = name and `model.<option>` = value for every option.
Metadata to_metadata(const Model& model);

/// The network that the metadata names; `name` where it names none. `overrides` win over the file's options.
/// Throws Error as `make_model`, and where neither gives a name or both give different ones.
std::unique_ptr<Model> make_model_from(const Metadata& metadata, std::string_view name = "",
                                       const ModelConfig& overrides = {});

}  // namespace lux
