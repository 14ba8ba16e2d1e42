#include "luxgrad/models/registry.h"

#include <charconv>

#include "luxgrad/models/zero_dce.h"
#include "luxgrad/models/zero_dce_plus.h"

namespace lux {
namespace {

// The value of an option, or its default.
std::string option(const ModelConfig& config, const char* name, const char* standard) {
  const auto given = config.find(name);
  return given == config.end() ? standard : given->second;
}

int64_t integer_option(const ModelConfig& config, const char* name, const char* standard) {
  const std::string text = option(config, name, standard);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size(), name, ": expected a whole number, got '",
        text, "'");
  return value;
}

std::unique_ptr<Model> make_zero_dce(const ModelConfig& config) {
  const std::string concat = option(config, "concat", "official");
  check(concat == "official" || concat == "keras", "concat: expected official or keras, got '", concat, "'");
  return std::make_unique<ZeroDce>(
      ZeroDceOptions{concat == "keras" ? ConcatOrder::keras : ConcatOrder::official});
}

std::unique_ptr<Model> make_zero_dce_plus(const ModelConfig& config) {
  return std::make_unique<ZeroDcePlus>(ZeroDcePlusOptions{integer_option(config, "scale_factor", "1")});
}

struct Entry {
  const char* name;
  const char* title;
  const char* paper;
  std::unique_ptr<Model> (*make)(const ModelConfig&);
};

constexpr Entry kEntries[] = {
    {"zero_dce", "Zero-reference deep curve estimation", "Guo et al., CVPR 2020, arXiv:2001.06826",
     make_zero_dce},
    {"zero_dce_plus", "the same, lighter: separable convolutions, one curve map",
     "Li, Guo and Loy, TPAMI 2021, arXiv:2103.00860", make_zero_dce_plus},
};

// "a, b" from anything whose elements `name_of` names.
template <class List, class NameOf>
std::string listed(const List& list, const NameOf& name_of) {
  std::string text;
  for (const auto& element : list) text += cat(text.empty() ? "" : ", ", name_of(element));
  return text;
}

}  // namespace

std::vector<ModelInfo> models() {
  std::vector<ModelInfo> list;
  for (const Entry& entry : kEntries) {
    const std::unique_ptr<Model> model = entry.make({});
    list.push_back({entry.name, entry.title, entry.paper, model->config(), model->parameter_count()});
  }
  return list;
}

std::unique_ptr<Model> make_model(std::string_view name, const ModelConfig& config) {
  for (const Entry& entry : kEntries) {
    if (name != entry.name) continue;
    std::unique_ptr<Model> model = entry.make(config);
    const ModelConfig known = model->config();
    for (const auto& [key, value] : config) {
      check(known.count(key) == 1, name, ": expected options among ",
            listed(known, [](const auto& known_option) { return known_option.first; }), ", got '", key, "'");
    }
    return model;
  }
  fail("make_model: expected one of ", listed(kEntries, [](const Entry& entry) { return entry.name; }),
       ", got '", name, "'");
}

Metadata to_metadata(const Model& model) {
  Metadata metadata{{"model", model.name()}};
  for (const auto& [key, value] : model.config()) metadata["model." + key] = value;
  return metadata;
}

std::unique_ptr<Model> make_model_from(const Metadata& metadata, std::string_view name,
                                       const ModelConfig& overrides) {
  constexpr std::string_view kPrefix = "model.";
  ModelConfig config = overrides;
  for (const auto& [key, value] : metadata) {
    if (key.starts_with(kPrefix)) config.emplace(key.substr(kPrefix.size()), value);
  }
  const auto own = metadata.find("model");
  check(own != metadata.end() || !name.empty(),
        "make_model: the weights do not say which model they are for");
  check(own == metadata.end() || name.empty() || own->second == name, "make_model: expected weights for ",
        name, ", got weights for '", own == metadata.end() ? "" : own->second, "'");
  return make_model(own == metadata.end() ? name : own->second, config);
}

}  // namespace lux
