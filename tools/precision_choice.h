// --precision, and whether a network can be trusted with it on this processor.
#pragma once

#include <string>

#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/model.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/exit_code.h"

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
/// CUDA device a network in bf16 keeps its weights and all that it computes in bf16, too; then returns the
/// weights in f32, in the host's memory, else nothing.
State try_precision(Model& model);

/// Whether anything is computed on `device` in another way than in `exact`, at the precision at hand.
bool rounds_more(Device device);

/// While it lives, the network computes in `exact`, with weights of f32.
class InF32 {
 public:
  /// `weights` is what try_precision returned. Throws OutOfMemory, and the network is as it was.
  InF32(Model& model, const State& weights);
  ~InF32();
  InF32(const InF32&) = delete;
  InF32& operator=(const InF32&) = delete;

 private:
  Model& model_;
  DType dtype_;
  PrecisionScope scope_;
};

/// work(), which runs `model` and throws NotFinite; where f32 may do better, that is said of `what`, and
/// work() once more in f32. Throws what it throws.
template <class Work>
auto in_f32_if_not_finite(Model& model, const State& weights, const std::string& what, const Work& work) {
  if (!rounds_more(model.device())) return work();
  const Precision tried = precision();
  try {
    return work();
  } catch (const NotFinite&) {
    print_note(cat(what, ": done in exact f32, for the network's result is not finite in ", tried));
  }
  const InF32 scope(model, weights);
  return work();
}

}  // namespace lux
