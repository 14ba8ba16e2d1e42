#include "luxgrad/models/registry.h"

#include <charconv>

#include "luxgrad/models/gan.h"
#include "luxgrad/models/mirnet_keras.h"
#include "luxgrad/models/mirnet_v1.h"
#include "luxgrad/models/mirnet_v2.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/unet.h"
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

bool switch_option(const ModelConfig& config, const char* name, const char* standard) {
  const std::string text = option(config, name, standard);
  check(text == "true" || text == "false", name, ": expected true or false, got '", text, "'");
  return text == "true";
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

std::unique_ptr<Model> make_mirnet_keras(const ModelConfig& config) {
  const std::string compat = option(config, "compat", "2023");
  check(compat == "2021" || compat == "2023", "compat: expected 2021 or 2023, got '", compat, "'");
  return std::make_unique<MirnetKeras>(compat == "2021" ? MirnetKeras::Compat::y2021
                                                        : MirnetKeras::Compat::y2023);
}

std::unique_ptr<Model> make_reference_guided(const ModelConfig& config) {
  const std::string norm = option(config, "norm", "batch");
  check(norm == "batch" || norm == "instance", "norm: expected batch or instance, got '", norm, "'");
  return std::make_unique<ReferenceGuided>(
      ReferenceGuidedOptions{.deconv_bias = switch_option(config, "deconv_bias", "false"),
                             .conv5_act = switch_option(config, "conv5_act", "true"),
                             .lum_dim = integer_option(config, "lum_dim", "96"),
                             .instance_norm = norm == "instance",
                             .skip = switch_option(config, "skip", "true")});
}

template <class Network>
std::unique_ptr<Model> make_plain(const ModelConfig&) {
  return std::make_unique<Network>();
}

constexpr OptionInfo kReferenceGuided[] = {
    {"deconv_bias", "false, true", "a bias in the transposed convolutions"},
    {"conv5_act", "true, false", "an activation after the last convolution of the encoder"},
    {"lum_dim", "96, 1 to 511", "how many of the 512 features are luminance"},
    {"norm", "batch, instance", "training compares luminance normalised over a batch, or over each picture"},
    {"skip", "true, false", "the decoder reads the encoder's maps, not 512 numbers alone"}};
constexpr OptionInfo kMirnetKeras[] = {
    {"compat", "2023, 2021", "2021: level 3 fused twice and level 2 never, the maximum before the mean"}};
constexpr OptionInfo kZeroDce[] = {
    {"concat", "official, keras", "which of two maps comes first, the earlier or the later"}};
constexpr OptionInfo kZeroDcePlus[] = {
    {"scale_factor", "1, 1 to 64", "how many times smaller the picture is that the network looks at"}};

struct Entry {
  const char* name;
  const char* title;
  const char* paper;
  std::unique_ptr<Model> (*make)(const ModelConfig&);
  std::span<const OptionInfo> options{};
};

constexpr Entry kEntries[] = {
    {"reference_guided", "U-Net that takes its brightness from any reference picture",
     "Wang et al., Pattern Recognition 2022, arXiv:2101.00813", make_reference_guided, kReferenceGuided},
    {"mirnet_keras", "MIRNet as the Keras example has it", "Zamir et al., ECCV 2020, arXiv:2003.06792",
     make_mirnet_keras, kMirnetKeras},
    {"mirnet_v1", "MIRNet: three resolutions, dual attention, selective kernels",
     "Zamir et al., ECCV 2020, arXiv:2003.06792", make_plain<MirnetV1>},
    {"mirnet_v2", "MIRNet-v2: the same idea, lighter and faster",
     "Zamir et al., TPAMI 2022, arXiv:2205.01649", make_plain<MirnetV2>},
    {"gan", "adversarial network with concatenated blocks", "after Isola et al., CVPR 2017, arXiv:1611.07004",
     make_plain<Gan>},
    {"zero_dce", "Zero-reference deep curve estimation", "Guo et al., CVPR 2020, arXiv:2001.06826",
     make_zero_dce, kZeroDce},
    {"zero_dce_plus", "the same, lighter: separable convolutions, one curve map",
     "Li, Guo and Loy, TPAMI 2021, arXiv:2103.00860", make_zero_dce_plus, kZeroDcePlus},
    {"unet", "simplified MIRNet: a U-Net with skips that are trained",
     "after Ronneberger et al., MICCAI 2015, arXiv:1505.04597", make_plain<Unet>},
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

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kEntries) names.emplace_back(entry.name);
  return names;
}

std::span<const OptionInfo> model_options(std::string_view name) {
  for (const Entry& entry : kEntries)
    if (name == entry.name) return entry.options;
  return {};
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
