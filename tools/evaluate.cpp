// luxgrad evaluate: how close a model comes to references, by every published convention side by side, and
// how close simple curves come.
#include "luxgrad/training/evaluate.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "luxgrad/data/file.h"
#include "luxgrad/data/layout.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/data/split.h"
#include "luxgrad/data/tensor_file.h"
#include "luxgrad/models/default_weights.h"
#include "luxgrad/tools/autotune.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/guidance.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/number_option.h"
#include "luxgrad/tools/on_cpu.h"
#include "luxgrad/tools/outputs.h"
#include "luxgrad/tools/precision_choice.h"
#include "luxgrad/tools/words.h"
#include "luxgrad/training/baselines.h"

namespace lux {
namespace {

using Json = nlohmann::ordered_json;

Json number(double x) { return std::isfinite(x) ? Json(x) : Json(cat(x)); }

std::string sha256_of_weights(const LoadedModel& loaded) {
  if (loaded.source == "built in") return sha256(default_weights(loaded.model->name()));
  return sha256(read_file(loaded.source).value());
}

/// Means and intervals of one method.
Json record_of(const Evaluation& evaluation, const BootstrapOptions& options) {
  Json record, intervals;
  const auto between = intervals_of(evaluation, options);
  for (const Protocol& protocol : evaluation.protocols) {
    const Interval& interval = between.at(protocol.name);
    record[protocol.name] = number(evaluation.mean.at(protocol.name));
    intervals[protocol.name] = {number(interval.low), number(interval.high)};
  }
  record["interval"] = std::move(intervals);
  return record;
}

std::string padded(const std::string& text, size_t width, bool right) {
  const std::string space(text.size() < width ? width - text.size() : 0, ' ');
  return right ? space + text : text + space;
}

/// Lines of numbers under the names of the measures: a protocol's column is that of its measure.
class Table {
 public:
  Table(const std::string& title, std::vector<Protocol> protocols) : protocols_(std::move(protocols)) {
    for (const Protocol& protocol : protocols_) {
      if (std::find(measures_.begin(), measures_.end(), protocol.measure) == measures_.end())
        measures_.push_back(protocol.measure);
    }
    text_ = padded(title, kTitle, false);
    for (const std::string& measure : measures_) text_ += padded(measure, kColumn, true);
  }

  /// The scores of what is called `pictures` among the protocols.
  void add(const std::string& title, const std::string& pictures, const Scores& scores) {
    text_ += "\n" + padded(title, kTitle, false);
    for (const std::string& measure : measures_) {
      std::string cell;
      for (const Protocol& protocol : protocols_) {
        if (protocol.pictures != pictures || protocol.measure != measure) continue;
        cell = fixed(scores.at(protocol.name), measure.starts_with("SSIM") || measure == "LPIPS" ? 4 : 3);
      }
      text_ += padded(cell, kColumn, true);
    }
    text_.erase(text_.find_last_not_of(' ') + 1);
  }

  const std::string& text() const { return text_; }

 private:
  static constexpr size_t kTitle = 36, kColumn = 10;
  std::vector<Protocol> protocols_;
  std::vector<std::string> measures_;
  std::string text_;
};

class Evaluate final : public Command {
 public:
  explicit Evaluate(CLI::App& app) {
    add_model_options(app, choice_);
    app.add_option("--low", low_, "Folder of dark pictures")->type_name("DIR");
    app.add_option("--high", high_, "Folder of their references, with the same names")->type_name("DIR");
    app.add_option("--data", data_, "Instead of both: a dataset, of which the part for evaluation, or a pack")
        ->type_name("PATH");
    app.add_option("--list", list_, "Only the pictures that this file names, one per line")
        ->type_name("FILE");
    app.add_option("--reference", guidance_.references,
                   "reference_guided: a row for each picture to be as bright as; own: the reference that a "
                   "picture is compared with, as published (default: a neutral look)")
        ->type_name("own|FILE...")
        ->check(offers({"own"}));
    app.add_option("--look", guidance_.look, "reference_guided: also a row for a look that was kept")
        ->type_name("FILE.json");
    add_statistics_options(app, guidance_);
    add_compat_option(app, guidance_);
    app.add_option("--baseline", baselines_,
                   "Also measure identity, gamma, auto_contrast, equalize, or all of them")
        ->type_name("NAME...")
        ->check(offers({"identity", "gamma", "auto_contrast", "equalize", "all"}));
    app.add_option("--lpips", lpips_files_,
                   "Also measure LPIPS: weights of AlexNet or VGG16 as torchvision has them, and those that "
                   "its authors learnt for that network")
        ->type_name("TRUNK WEIGHTS")
        ->expected(2);
    app.add_option("--csv", csv_, "Also write the scores of every picture")->type_name("FILE");
    app.add_option("--min-psnr", min_psnr_, "Exit with 7 when the mean PSNR is below this")
        ->type_name("DB")
        ->check(finite_number());
    app.add_option("--min-ssim", min_ssim_, "Exit with 7 when the mean SSIM is below this")
        ->type_name("S")
        ->check(finite_number());
    app.add_option("--seed", bootstrap_.seed, "Of the bootstrap, and of the dropout of gan (default 0)")
        ->type_name("S")
        ->check(whole_number());
    add_device_options(app, where_);
    add_precision_option(app, where_.precision);
    add_autotune_option(app, where_);
    app.add_flag("--json", json_, "Print a JSON object");
    app.add_option("--progress", progress_, "none, bar or json, on standard error (default bar)")
        ->type_name("KIND")
        ->check(one_of({"none", "bar", "json"}));
  }

  ExitCode run() override {
    check_usage(data_.empty() ? !low_.empty() && !high_.empty() : low_.empty() && high_.empty(),
                "name the folders with --low and --high, or a dataset with --data");
    check_baselines();
    const Device device = apply(where_);
    const Autotuning autotuning(where_);
    const PictureList pairs = opened();
    const LoadedModel loaded = load_model(choice_, device);
    weights_ = try_precision(*loaded.model);
    load_lpips();
    check_table(pairs, loaded.source);
    if (loaded.model->name() == "gan") guidance_.seed = bootstrap_.seed;
    const std::vector<Evaluation> evaluations =
        measured(*loaded.model, guides_of(guidance_, *loaded.model), pairs);
    print_result(json_ ? as_json(evaluations, loaded, pairs) : as_text(evaluations, loaded));
    if (!csv_.empty()) {
      const std::string text = to_csv(evaluations);
      static_cast<void>(write_file_atomically(csv_, bytes_of(text)).value());
    }
    const Scores& mean = evaluations[0].mean;
    const bool good = mean.at("psnr") >= min_psnr_ && mean.at("ssim") >= min_ssim_;  // NaN is not
    return good ? ExitCode::ok : ExitCode::check_failed;
  }

 private:
  void check_baselines() {
    const std::vector<std::string> known = baseline_names();
    if (baselines_ == std::vector<std::string>{"all"}) baselines_ = known;
    for (const std::string& name : baselines_) {
      check_usage(std::find(known.begin(), known.end(), name) != known.end(),
                  "--baseline: expected identity, gamma, auto_contrast, equalize or all, got ", name);
    }
  }

  void load_lpips() {
    if (lpips_files_.empty()) return;
    std::vector<State> states;
    for (const std::string& path : lpips_files_) {
      const std::vector<uint8_t> bytes = read_file(path).value();
      states.push_back(parse_tensor_file(bytes).in_file(path).value().tensors);
      lpips_sha256_.push_back(sha256(bytes));
    }
    try {
      lpips_.emplace(states[0], states[1]);
    } catch (const StateMismatch& error) {
      throw misfit(cat(lpips_files_[0], " with ", lpips_files_[1], ": ", error.what()));
    }
  }

  /// That the table replaces nothing that is read.
  void check_table(const PictureList& pairs, const std::string& weights) const {
    if (csv_.empty()) return;
    Outputs outputs(true);
    for (const std::string& file : {weights, list_, data_}) outputs.add_input(file);
    for (const std::string& file : lpips_files_) outputs.add_input(file);
    add_inputs(guidance_, outputs);
    for (const PicturePaths& pair : pairs) {
      outputs.add_input(pair.low);
      outputs.add_input(pair.high);
    }
    outputs.demand(csv_);
  }

  PictureList opened() const {
    if (!data_.empty()) {
      const Dataset dataset = open_dataset(data_, {.part = DatasetPart::evaluation, .names = list_});
      print_note(dataset.found);
      return dataset.pictures;
    }
    const PictureList pairs = paired_folder(low_, high_);
    return list_.empty() ? pairs : sound(select_named(pairs, list_));
  }

  /// The model first, with one guide after another, then the baselines.
  std::vector<Evaluation> measured(Model& model, const std::vector<Guide>& guides,
                                   const PictureList& pairs) const {
    ProgressLine progress(progress_style(progress_));
    const auto total = static_cast<int64_t>(pairs.size() * (guides.size() + baselines_.size()));
    int64_t done = 0;
    const auto each = [&](const ImageScores& image) { progress.show(++done, total, image.name); };
    std::vector<Evaluation> evaluations;
    for (const Guide& guide : guides) {
      const auto guided = [&](const Tensor& low, const Tensor& high) {
        const std::string& picture = pairs[static_cast<size_t>(done) % pairs.size()].name;
        const auto run = [&](const EnhanceOptions& options) {
          return enhance(model, guide, low, high, options);
        };
        return in_f32_if_not_finite(model, weights_, picture, [&] {
          Tensor bright = in_less_memory_or_on_cpu(model, picture, low.size(1), low.size(2), run);
          print_graph_notice();
          check_finite(bright, picture);
          return bright;
        });
      };
      evaluations.push_back(evaluate(guide.title, guided, pairs, each, lpips()));
    }
    for (const std::string& name : baselines_) {
      evaluations.push_back(evaluate(
          name, [&](const Tensor& low, const Tensor&) { return baseline(name, low); }, pairs, each, lpips()));
    }
    return evaluations;
  }

  std::string as_text(const std::vector<Evaluation>& evaluations, const LoadedModel& loaded) const {
    const Evaluation& model = evaluations[0];
    Table table("", model.protocols);
    std::string last;
    for (const Protocol& protocol : model.protocols) {
      if (protocol.pictures != last) table.add(protocol.pictures, protocol.pictures, model.mean);
      last = protocol.pictures;
    }
    const auto between = intervals_of(model, bootstrap_);
    const auto range = [&](const char* name, int digits) {
      return cat(fixed(between.at(name).low, digits), " to ", fixed(between.at(name).high, digits));
    };
    std::string text =
        cat(printable(model.method), ", weights ", printable(loaded.source), ", ", model.images.size(),
            " pictures\n\n", table.text(), "\n\n95 % interval of the mean, RGB: PSNR ", range("psnr", 3),
            " dB, SSIM ", range("ssim", 4));
    if (evaluations.size() == 1) return text;
    Table others("RGB", model.protocols);
    for (const Evaluation& evaluation : evaluations)
      others.add(printable(evaluation.method), "RGB", evaluation.mean);
    return cat(text, "\n\n", others.text());
  }

  std::string as_json(const std::vector<Evaluation>& evaluations, const LoadedModel& loaded,
                      const PictureList& pairs) const {
    Json report = record_of(evaluations[0], bootstrap_);
    report["coverage"] = bootstrap_.coverage;
    report["seed"] = bootstrap_.seed;
    report["images"] = pairs.size();
    report["data_sha256"] = sha256_of(pairs);
    report["model"] = loaded.model->name();
    report["method"] = evaluations[0].method;
    report["options"] = settings_of(guidance_, *loaded.model);
    report["weights"] = loaded.source;
    report["weights_sha256"] = sha256_of_weights(loaded);
    if (lpips_) {
      report["lpips_network"] = {{"name", lpips_->network()},
                                 {"trunk_sha256", lpips_sha256_[0]},
                                 {"weights_sha256", lpips_sha256_[1]}};
    }
    report["version"] = LUX_VERSION;
    report["device"] = cat(loaded.model->device());
    const size_t guides = evaluations.size() - baselines_.size();
    for (size_t i = 1; i < evaluations.size(); ++i) {
      report[i < guides ? "guides" : "baselines"][evaluations[i].method] =
          record_of(evaluations[i], bootstrap_);
    }
    return report.dump(-1, ' ', true, Json::error_handler_t::replace);
  }

  const Lpips* lpips() const { return lpips_ ? &*lpips_ : nullptr; }

  ModelChoice choice_;
  std::string low_, high_, data_, list_, csv_;
  std::vector<std::string> baselines_, lpips_files_, lpips_sha256_;
  std::optional<Lpips> lpips_;
  Guidance guidance_;
  BootstrapOptions bootstrap_;
  State weights_;  // as try_precision returned them
  double min_psnr_ = -1e9, min_ssim_ = -1e9;
  RunsOn where_;
  bool json_ = false;
  std::string progress_ = "bar";
};

}  // namespace

std::unique_ptr<Command> make_evaluate(CLI::App& app) { return std::make_unique<Evaluate>(app); }

}  // namespace lux
