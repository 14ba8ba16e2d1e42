// What some networks are guided by beside the picture: references and looks, statistics, published artefacts.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/models/model.h"

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

/// --reference, --look, --save-look, --bn, --compat, --seed.
void add_guidance_options(CLI::App& app, Guidance& guidance);

/// Sets the model up. Throws CommandError for what it does not know, and for a file that holds no looks;
/// FileException for one that cannot be read or written.
void apply(const Guidance& guidance, Model& model);

}  // namespace lux
