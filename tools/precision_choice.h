// --precision, and whether a network can be trusted with it on this processor.
#pragma once

#include <string>

#include "luxgrad/models/model.h"

namespace CLI {
class App;
}

namespace lux {

/// `more` stands behind the name of bf16.
void add_precision_option(CLI::App& app, std::string& name, const char* more = "");

/// Sets the precision of this process. Throws CommandError for a name that is none, or that `device` does not
/// have.
void apply_precision(const std::string& name, Device device);

/// Enhances a small picture in the precision at hand and in `exact`. Says how near they are where it was
/// asked to be coarse, and goes back to the next better precision, with a note, where they are not near
/// enough: 40 dB, and 80 dB for `fp32`. Does nothing where all of this processor's products are of f32. On a
/// CUDA device a network in bf16 keeps its weights and all that it computes in bf16, too.
void try_precision(Model& model);

}  // namespace lux
