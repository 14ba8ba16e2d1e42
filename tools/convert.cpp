// luxgrad convert: weights of other programs, or a checkpoint of a run, as a file of weights. They go through
// the network that they are for, so what comes out fits it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <filesystem>

#include "luxgrad/autograd/node.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/words.h"
#include "luxgrad/training/checkpoint.h"

namespace lux {
namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.numel()) * size_of(a.dtype())) == 0;
}

/// A dark picture of an odd size, the same every time.
Tensor probe() {
  Tensor picture = empty({1, 37, 53, 3});
  Generator generator(1, "probe picture");
  fill_uniform_(picture, 0, 0.4, generator);
  return picture;
}

class Convert final : public Command {
 public:
  explicit Convert(CLI::App& app) {
    app.add_option("-m,--weights,weights", choice_.weights,
                   "Weights to read: safetensors, .npz, .pth, a checkpoint of a run")
        ->type_name("IN");
    app.add_option("-o,--output,output", output_, "File to write, .safetensors or .npz")->type_name("OUT");
    app.add_option("-n,--model", choice_.name,
                   "Name of the model (default: what the weights say or look like)")
        ->type_name("NAME")
        ->check(offers(model_names()));
    add_network_options(app, choice_);
    app.add_flag("--verify", verify_, "Read the file back, and compare all bits and an enhanced picture");
    app.add_flag("--overwrite", overwrite_, "Replace a file that exists");
  }

  ExitCode run() override {
    check_usage(!choice_.weights.empty() && !output_.empty(), "name two files: IN and OUT");
    const bool as_arrays = output_.ends_with(".npz");
    check_usage(as_arrays || output_.ends_with(".safetensors"),
                "expected an output that ends with .safetensors or .npz, got ", output_);
    std::error_code ignored;
    check_usage(!std::filesystem::equivalent(choice_.weights, output_, ignored),
                "the output would replace the input");
    if (!overwrite_ && std::filesystem::exists(output_, ignored))
      usage_error(output_, ": exists; --overwrite replaces it");

    const LoadedModel loaded = load_model(choice_);
    const Model& model = *loaded.model;
    if (as_arrays) {
      (void)write_file_atomically(output_, serialize_npz(model.state_dict())).value();
    } else {
      Facts facts = loaded.metadata;
      facts.erase("sha256");  // of the content as it was
      for (const auto& [key, value] : to_metadata(model)) facts[key] = value;
      save_weights(output_, model.state_dict(), facts);
    }
    print_note(cat(output_, ": ", model.name(), ", ", model.state_dict().size(), " tensors, ",
                   model.parameter_count(), " parameters"));
    if (as_arrays && model.config() != make_model(model.name())->config())
      print_note("an .npz does not say which options the network has; name them where it is used");
    return verify_ ? check(model) : ExitCode::ok;
  }

 private:
  /// Whether OUT reads as the network that was written.
  ExitCode check(const Model& model) const {
    ModelChoice written{.name = model.name(), .weights = output_};
    for (const auto& [key, value] : model.config()) written.options.push_back(cat(key, "=", value));
    const LoadedModel again = load_model(written);
    const State before = model.state_dict(), after = again.model->state_dict();
    for (const auto& [name, tensor] : before) {
      if (!same_bits(tensor, after.at(name)))
        throw CommandError(ExitCode::check_failed, cat(output_, ": ", name, " reads back as other values"));
    }
    const NoGrad no_grad;
    if (!same_bits(enhance(model, probe()), enhance(*again.model, probe())))
      throw CommandError(ExitCode::check_failed, cat(output_, ": enhances a picture to other values"));
    print_note(cat(output_, ": reads back bit by bit, and enhances a picture to the same bits"));
    return ExitCode::ok;
  }

  ModelChoice choice_;
  std::string output_;
  bool verify_ = false, overwrite_ = false;
};

}  // namespace

std::unique_ptr<Command> make_convert(CLI::App& app) { return std::make_unique<Convert>(app); }

}  // namespace lux
