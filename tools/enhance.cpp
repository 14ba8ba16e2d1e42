// luxgrad enhance: pictures in, brighter pictures out.
#include "luxgrad/models/enhance.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "luxgrad/data/folder.h"
#include "luxgrad/tools/batch.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/guidance.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"

namespace fs = std::filesystem;

namespace lux {
namespace {

/// Both pictures, of the same form, in one, with a gap of a hundredth of their width.
Image side_by_side(const Image& before, const Image& after) {
  const int64_t gap = std::max<int64_t>(1, before.width / 100);
  Image both;
  both.allocate(2 * before.width + gap, before.height, before.channels, before.bits);
  std::fill(both.samples.begin(), both.samples.end(), uint8_t{255});
  for (int64_t y = 0; y < before.height; ++y) {
    std::memcpy(both.row(y), before.row(y), before.row_bytes());
    const size_t right = static_cast<size_t>(before.width + gap) * both.pixel_bytes();
    std::memcpy(both.row(y) + right, after.row(y), after.row_bytes());
  }
  return both;
}

/// The error at work, completed by what the network needs for such a picture where memory was the reason.
[[noreturn]] void rethrow_with_need(const Model& model, const Image& picture) {
  const std::exception_ptr error = std::current_exception();
  const Failure failure = failure_of(error);
  if (failure.code != ExitCode::exhausted) std::rethrow_exception(error);
  throw OutOfMemory(cat(failure.message, "; ", model.name(), " needs at least ",
                        megabytes(enhance_bytes(model, picture.height, picture.width)), " for ",
                        picture.width, " x ", picture.height, " pixels"));
}

class Enhance final : public Command {
 public:
  explicit Enhance(CLI::App& app) {
    app.add_option("-i,--input,input", batch_.inputs, "Pictures: files, folders, globs; - is standard input")
        ->type_name("IN...");
    app.add_option("-o,--output", batch_.output, "A file or a folder; - is standard output")
        ->type_name("OUT");
    add_model_options(app, choice_);
    app.add_option("-s,--strength", strength_, "How much of the enhancement, 0 to 1 (default 1)")
        ->type_name("S")
        ->check(CLI::Range(0.0, 1.0).description(""));
    add_guidance_options(app, guidance_);
    add_device_options(app, where_);
    app.add_option("-f,--format", format_, "Format of the output: png, jpg, bmp, pnm (default: by name)")
        ->type_name("FORMAT");
    app.add_option("-q,--quality", quality_, "Quality of JPEG, 1 to 100 (default 95)")
        ->type_name("Q")
        ->check(CLI::Range(1, 100).description(""));
    app.add_flag("--recursive", batch_.recursive, "Look into folders of folders");
    app.add_flag("--overwrite", batch_.overwrite, "Replace outputs that exist");
    app.add_flag("--skip-existing", batch_.skip_existing, "Leave outputs that exist, and count them as done");
    app.add_option("--output-template", batch_.name, "Names in an output folder (default {name}.{ext})")
        ->type_name("NAME");
    app.add_flag("--compare", compare_, "Write before and after side by side");
    app.add_flag("--json", json_, "Print one JSON object per input");
    app.add_option("--progress", progress_, "none, bar or json, on standard error (default bar)")
        ->type_name("KIND")
        ->check(CLI::IsMember({"none", "bar", "json"}).description(""));
  }

  ExitCode run() override {
    if (!format_.empty()) batch_.format = format_named(format_);
    check_usage(strength_ >= 0 && strength_ <= 1, "--strength: expected 0 to 1, got ",
                strength_);  // not a NaN either
    const std::vector<Job> jobs = plan_batch(batch_);
    apply(where_);
    const LoadedModel loaded = load_model(choice_);
    apply(guidance_, *loaded.model);
    ProgressLine progress(progress_style(progress_));
    const auto total = static_cast<int64_t>(jobs.size());
    int64_t done = 0;
    std::vector<ExitCode> failures;
    for (const Job& job : jobs) {
      const ExitCode code = finish(job, *loaded.model, progress);
      if (code != ExitCode::ok) failures.push_back(code);
      progress.show(++done, total, job.input);
    }
    if (failures.empty()) return ExitCode::ok;
    if (jobs.size() == 1) return failures.front();
    progress.clear();
    print_note(cat("luxgrad: ", jobs.size() - failures.size(), " of ", jobs.size(), " pictures done"));
    return ExitCode::some_failed;
  }

 private:
  /// Does one job and reports it.
  ExitCode finish(const Job& job, const Model& model, ProgressLine& progress) const {
    nlohmann::ordered_json report = {{"input", job.input}, {"output", job.output}};
    std::optional<Failure> failure = job.refused;
    try {
      if (job.skip) {
        report["status"] = "skipped";
      } else if (!failure) {
        enhance_one(job, model, report);
        report["status"] = "ok";
      }
    } catch (...) {
      failure = failure_of(std::current_exception());
    }
    if (failure) {
      report["status"] = "failed";
      report["error"] = failure->message;
      report["code"] = static_cast<int>(failure->code);
      progress.clear();
      print_error(failure->message);
    }
    if (json_) {
      const std::string line = report.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
      batch_.output == "-" ? print_note(line) : print_result(line);
      flush_results();  // a script may wait for it, and a signal may end the next picture
    }
    return failure ? failure->code : ExitCode::ok;
  }

  void enhance_one(const Job& job, const Model& model, nlohmann::ordered_json& report) const {
    const auto start = std::chrono::steady_clock::now();
    const Image before = load_image(job.input);
    const Image after = brightened(model, before);
    if (job.output == "-") {
      write_result_bytes(encode_image(after, format_of(job, batch_), quality_));
    } else {
      const fs::path folder = fs::path(job.output).parent_path();
      if (!folder.empty() && job.output != batch_.output) (void)make_folders(folder).value();
      save_image(job.output, after, {format_of(job, batch_), quality_});
    }
    report["width"] = before.width;
    report["height"] = before.height;
    report["model"] = model.name();
    report["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Image brightened(const Model& model, const Image& before) const {
    try {
      const Tensor picture = to_tensor(before);
      Image after = from_tensor(enhance(model, picture, {.strength = strength_}), before);
      return compare_ ? side_by_side(from_tensor(picture, before), after) : after;
    } catch (...) {
      rethrow_with_need(model, before);
    }
  }

  BatchOptions batch_;
  ModelChoice choice_;
  Guidance guidance_;
  RunsOn where_;
  double strength_ = 1;
  std::string format_;
  int quality_ = 95;
  bool compare_ = false;
  bool json_ = false;
  std::string progress_ = "bar";
};

}  // namespace

std::unique_ptr<Command> make_enhance(CLI::App& app) { return std::make_unique<Enhance>(app); }

}  // namespace lux
