// What some networks are guided by beside the picture: references and looks, statistics, published artefacts.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/models/enhance.h"
#include "luxgrad/models/model.h"
#include "luxgrad/tools/outputs.h"

namespace CLI {
class App;
}

namespace lux {

struct Guidance {
  std::vector<std::string> references{};  ///< pictures
  std::string look{};                     ///< file of looks
  std::string save_look{};                ///< file for the looks of the references
  std::string statistics{};               ///< batch, running
  std::string compat{};                   ///< published
  uint64_t seed = 0;
};

/// --reference, --look, --save-look, --bn, --seed.
void add_guidance_options(CLI::App& app, Guidance& guidance);
/// --bn alone.
void add_statistics_options(CLI::App& app, Guidance& guidance);
/// --compat.
void add_compat_option(CLI::App& app, Guidance& guidance);

/// Says which files are read.
void add_inputs(const Guidance& guidance, Outputs& outputs);

/// Sets the model up. Throws CommandError for what it does not know, and for a file that holds no looks;
/// FileException for one that cannot be read or written.
void apply(const Guidance& guidance, Model& model);

/// What the network was set to: its options, and those of `guidance` that are modes of it.
ModelConfig settings_of(const Guidance& guidance, const Model& model);

/// One way to have a network guided, where several are compared.
struct Guide {
  /// The network, what guides it, and its options where they are not the default:
  /// `reference_guided (own references, norm=instance)`, `gan (running statistics, published)`.
  std::string title;
  bool own = false;  ///< each picture by the reference that it is compared with
  Tensors looks{};   ///< none: as the network is without any
};

/// A guide for each of `guidance.references`, of which `own` says that every picture has its own, and one for
/// `guidance.look`; where there are none, and for other networks, one that changes nothing. Throws as
/// `apply`.
std::vector<Guide> guides_of(const Guidance& guidance, Model& model);

/// The picture `low`, guided. `high`: its own reference.
Tensor enhance(Model& model, const Guide& guide, const Tensor& low, const Tensor& high,
               const EnhanceOptions& options = {});

}  // namespace lux
