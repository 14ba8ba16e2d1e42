// luxgrad lut: what a network does to a photo, as a table of colours for other programs.
#include "luxgrad/data/lut.h"

#include <CLI/CLI.hpp>
#include <cmath>

#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/guidance.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/number_option.h"
#include "luxgrad/tools/precision_choice.h"

namespace lux {
namespace {

constexpr int kFinest = 129;
constexpr double kMuch = 2;  // percent of white

/// The mean absolute difference between `after` and what the table makes of `before`.
double mean_difference(const ColorLut& lut, const Tensor& before, const Tensor& after) {
  const float* const from = before.data<float>();
  const float* const to = after.data<float>();
  double sum = 0;
  for (int64_t i = 0; i < before.numel(); i += 3) {
    const std::array<float, 3> color = lut.at({from[i], from[i + 1], from[i + 2]});
    for (int64_t c = 0; c < 3; ++c)
      sum += static_cast<double>(std::abs(color[static_cast<size_t>(c)] - to[i + c]));
  }
  return sum / static_cast<double>(before.numel());
}

class Lut final : public Command {
 public:
  explicit Lut(CLI::App& app) {
    app.add_option("-i,--input,input", input_, "The photo")->type_name("PHOTO");
    app.add_option("-o,--output", output_, "The table")->type_name("LOOK.cube");
    app.add_option("--size", size_, "Nodes along an edge of the cube (default 65)")
        ->type_name("N")
        ->check(CLI::Range(2, kFinest).description(""));
    add_model_options(app, choice_);
    app.add_option("-s,--strength", strength_, "How much of the enhancement, 0 to 1 (default 1)")
        ->type_name("S")
        ->check(finite_number(0, 1));
    add_guidance_options(app, guidance_);
    add_device_options(app, where_);
    add_precision_option(app, where_.precision);
    app.add_flag("--overwrite", overwrite_, "Replace an output that exists");
  }

  ExitCode run() override {
    check_usage(!input_.empty() && !output_.empty(),
                "name the photo and the table: luxgrad lut -i PHOTO -o LOOK.cube");
    check_usage(output_.ends_with(".cube"), "--output: expected a name that ends in .cube, got ", output_);
    Outputs outputs(overwrite_);
    for (const std::string& path : {input_, choice_.weights}) outputs.add_input(path);
    add_inputs(guidance_, outputs);
    outputs.demand(output_);
    if (!guidance_.save_look.empty()) outputs.demand(guidance_.save_look);
    const LoadedModel loaded = load_model(choice_, apply(where_));
    const State weights = try_precision(*loaded.model);
    apply(guidance_, *loaded.model);
    const Tensor before = to_tensor(load_image(input_));
    const Tensor after = in_f32_if_not_finite(*loaded.model, weights, input_, [&] {
      Tensor bright = enhance(*loaded.model, before, {.strength = strength_});
      check_finite(bright, input_);
      return bright;
    });
    const ColorLut lut = fit_lut(before, after, size_);
    const std::string text = cube_text(lut, cat("luxgrad ", loaded.model->name(), ": ", input_));
    (void)write_file_atomically(output_, bytes_of(text)).value();
    const double missed = 100 * mean_difference(lut, before, after);
    print_result(printable(cat(output_, ": ", size_, "x", size_, "x", size_,
                               ", mean difference on this photo ", fixed(missed, 2), " % of white")));
    if (missed > kMuch)
      print_note(cat("luxgrad: warning: ", output_, ": misses ", fixed(missed, 2),
                     " % of white, for the network looks at places, too; ",
                     size_ < kFinest ? cat("--size ", kFinest, " may come nearer, ") : "",
                     "luxgrad enhance and luxgrad video give what the network makes"));
    return ExitCode::ok;
  }

 private:
  std::string input_, output_;
  int64_t size_ = 65;
  ModelChoice choice_;
  Guidance guidance_;
  RunsOn where_;
  double strength_ = 1;
  bool overwrite_ = false;
};

}  // namespace

std::unique_ptr<Command> make_lut(CLI::App& app) { return std::make_unique<Lut>(app); }

}  // namespace lux
