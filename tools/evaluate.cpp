// luxgrad evaluate: how close a model comes to references. RGB, all pixels, no border; SSIM with a Gaussian
// window of 11 and σ 1.5; the mean over the pictures.
#include "luxgrad/training/evaluate.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "luxgrad/data/file.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/model_choice.h"

namespace lux {
namespace {

using Json = nlohmann::ordered_json;

Json report_of(const Scores& scores) {
  const auto number = [](double x) { return std::isfinite(x) ? Json(x) : Json(cat(x)); };
  return {{"psnr", number(scores.psnr)},
          {"ssim", number(scores.ssim)},
          {"psnr_uint8", number(scores.psnr_uint8)},
          {"psnr_gt_mean", number(scores.psnr_gt_mean)}};
}

class Evaluate final : public Command {
 public:
  explicit Evaluate(CLI::App& app) {
    add_model_options(app, choice_);
    app.add_option("--low", low_, "Folder of dark pictures")->type_name("DIR");
    app.add_option("--high", high_, "Folder of their references, with the same names")->type_name("DIR");
    app.add_option("--csv", csv_, "Also write the scores of every picture")->type_name("FILE");
    app.add_option("--min-psnr", min_psnr_, "Exit with 7 when the mean PSNR is below this")->type_name("DB");
    app.add_option("--min-ssim", min_ssim_, "Exit with 7 when the mean SSIM is below this")->type_name("S");
    add_device_options(app, where_);
    app.add_flag("--json", json_, "Print a JSON object");
    app.add_option("--progress", progress_, "none, bar or json, on standard error (default bar)")
        ->type_name("KIND")
        ->check(CLI::IsMember({"none", "bar", "json"}).description(""));
  }

  ExitCode run() override {
    check_usage(!low_.empty() && !high_.empty(), "name the folders with --low and --high");
    apply(where_);
    const PictureList pairs = paired_folder(low_, high_);
    const LoadedModel loaded = load_model(choice_);
    ProgressLine progress(progress_style(progress_));
    int64_t done = 0;
    const Evaluation evaluation = evaluate(*loaded.model, pairs, [&](const ImageScores& image) {
      progress.show(++done, static_cast<int64_t>(pairs.size()), image.name);
    });
    progress.clear();
    const Scores& mean = evaluation.mean;
    print_result(json_ ? as_json(evaluation, loaded) : as_text(evaluation, loaded));
    if (!csv_.empty()) {
      const std::string text = to_csv(evaluation);
      static_cast<void>(
          write_file_atomically(csv_, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}).value());
    }
    return mean.psnr < min_psnr_ || mean.ssim < min_ssim_ ? ExitCode::check_failed : ExitCode::ok;
  }

 private:
  static std::string as_text(const Evaluation& evaluation, const LoadedModel& loaded) {
    const Scores& mean = evaluation.mean;
    return cat(loaded.model->name(), ", weights ", printable(loaded.source), ", ", evaluation.images.size(),
               " pictures", "\n  PSNR            ", fixed(mean.psnr, 3), " dB\n  SSIM            ",
               fixed(mean.ssim, 4), "\n  PSNR of 8 bits  ", fixed(mean.psnr_uint8, 3),
               " dB\n  PSNR, GT mean   ", fixed(mean.psnr_gt_mean, 3), " dB");
  }

  static std::string as_json(const Evaluation& evaluation, const LoadedModel& loaded) {
    Json report = report_of(evaluation.mean);
    report["images"] = evaluation.images.size();
    report["model"] = loaded.model->name();
    report["weights"] = loaded.source;
    return report.dump(-1, ' ', true, Json::error_handler_t::replace);
  }

  ModelChoice choice_;
  std::string low_, high_, csv_;
  double min_psnr_ = -1e9, min_ssim_ = -1e9;
  RunsOn where_;
  bool json_ = false;
  std::string progress_ = "bar";
};

}  // namespace

std::unique_ptr<Command> make_evaluate(CLI::App& app) { return std::make_unique<Evaluate>(app); }

}  // namespace lux
