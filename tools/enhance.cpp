// luxgrad enhance: pictures in, brighter pictures out.
#include <CLI/CLI.hpp>
#include <charconv>
#include <deque>
#include <filesystem>
#include <limits>
#include <mutex>
#include <optional>
#include <set>

#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/autotune.h"
#include "luxgrad/tools/batch.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/guidance.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/number_option.h"
#include "luxgrad/tools/picture_work.h"
#include "luxgrad/tools/precision_choice.h"
#include "luxgrad/tools/stages.h"
#include "luxgrad/tools/stop.h"
#include "luxgrad/tools/watch.h"
#include "luxgrad/tools/words.h"

namespace fs = std::filesystem;

namespace lux {
namespace {

// Of weights as kernels want them, four times as large for Winograd's. The small networks, for which making
// them anew for each band of a photo is a part of the time, find room for all, where they do not take more
// than half of what is left for all that no plan counts, an eighth.
constexpr int64_t kKeptWeights = int64_t{2} << 20;

// That a thread of a stage keeps for itself, its stack and its share of the allocator's.
constexpr int64_t kStageThread = int64_t{1} << 19;

class Enhance final : public Command {
 public:
  explicit Enhance(CLI::App& app) {
    app.add_option("-i,--input,input", batch_.inputs, "Pictures: files, folders, globs; - is standard input")
        ->type_name("IN...");
    app.add_option("-o,--output", batch_.output, "A file or a folder; - is standard output")
        ->type_name("OUT");
    add_model_options(app, choice_);
    app.add_option("-s,--strength", work_.strength, "How much of the enhancement, 0 to 1 (default 1)")
        ->type_name("S")
        ->check(finite_number(0, 1));
    add_guidance_options(app, guidance_);
    add_compat_option(app, guidance_);
    app.add_option(
           "-j,--threads", threads_,
           "CPU threads (default: all that this process may use), or LOAD:NETWORK:SAVE, where 1:N:1 is meant "
           "by N")
        ->type_name("N");
    add_device_option(app, where_);
    add_precision_option(app, where_.precision);
    add_autotune_option(app, where_);
    app.add_option("--memory", memory_,
                   "The most that the program may take for a picture, like 2G or 500M (default: 60 % of what "
                   "is free)")
        ->type_name("SIZE")
        ->transform(memory_size());
    app.add_option("-t,--tile", work_.tile,
                   "Side of tiles in pixels, rounded up to what the network asks for (default 0: by memory)")
        ->type_name("N")
        ->check(CLI::Range(0, 1 << 20).description(""));
    app.add_flag("--exact", work_.exact,
                 "Refuse a picture that fits into memory only with statistics of a smaller copy of it");
    app.add_flag("--verify-tiles", work_.verify_tiles,
                 "Say how far tiles differ from the whole, on the middle of the picture");
    app.add_flag("-x,--augment", work_.augment,
                 "Mean over the eight flips and quarter turns: eight times the time");
    app.add_flag("--raw-linear", work_.raw_linear, "The input holds 16-bit values proportional to light");
    app.add_flag("--strip", work_.strip, "Leave out EXIF, which tells where and how a photo was made");
    app.add_option("-f,--format", format_,
                   "Format of the output: png, jpg, bmp, pnm, webp, tif, avif, jxl (default: by name)")
        ->type_name("FORMAT")
        ->check(offers({"png", "jpg", "bmp", "pnm", "webp", "tif", "avif", "jxl"}));
    app.add_option("-q,--quality", work_.quality,
                   "Quality of JPEG, WebP, AVIF and JPEG XL, 1 to 100 (default 95)")
        ->type_name("Q")
        ->check(CLI::Range(1, 100).description(""));
    app.add_flag("--recursive", batch_.recursive, "Look into folders of folders");
    app.add_flag("--overwrite", batch_.overwrite, "Replace outputs that exist");
    app.add_flag("--skip-existing", batch_.skip_existing,
                 "Leave outputs that exist and are whole, and count them as done");
    app.add_option("--output-template", batch_.name, "Names in an output folder (default {name}.{ext})")
        ->type_name("NAME");
    app.add_option("--shard", shard_, "Only part I of N of the pictures, for one of N machines")
        ->type_name("I/N");
    app.add_option("--watch", watched_,
                   "Enhance what is in a folder, then what appears there, until a signal")
        ->type_name("DIR");
    app.add_option("--compare", page_, "Write before and after side by side, or a page with a slider")
        ->type_name("[FILE.html]")
        ->expected(0, 1);
    app.add_option("--save-curves", batch_.curves,
                   "zero_dce, zero_dce_plus: curve parameters as .npz and .png")
        ->type_name("DIR");
    app.add_flag("--json", json_, "Print one JSON object per input");
    app.add_option("--progress", progress_, "none, bar or json, on standard error (default bar)")
        ->type_name("KIND")
        ->check(one_of({"none", "bar", "json"}));
    compare_ = app.get_option("--compare");
  }

  ExitCode run() override {
    check_options();
    std::optional<FolderWatch> arrivals;
    if (!watched_.empty()) {
      stop_on_signals();
      arrivals.emplace(watched_);  // before the first look, so that nothing is missed
    }
    const std::vector<Job> jobs = plan(batch_);
    const LoadedModel loaded = load_model(choice_, apply(where_));
    const Autotuning autotuning(where_);
    work_.weights = try_precision(*loaded.model);
    apply(guidance_, *loaded.model);
    constexpr int64_t kFirstWork = 5 << 19;  // code, tables and stacks that the first picture brings in
    memory::trim();                          // what reading weights took has no room beside the pictures
    memory::reset_peak();
    const int64_t slack =
        memory::stats().live / 100 * memory::kSlack;  // that the cache may keep because of them
    work_.program = std::max<int64_t>(0, resident_bytes()) + slack + kFirstWork;
    const int64_t room = std::max<int64_t>(0, work_.memory - work_.program);
    set_derived_weight_cap(work_.memory > 0 ? std::min(kKeptWeights, room / 16) : kKeptWeights);
    work_.loading = peak_resident_bytes();
    check_usage(!work_.curves || dynamic_cast<const CurveModel*>(loaded.model.get()) != nullptr,
                "--save-curves: ", loaded.model->name(), " has no curve parameters");
    SharedPlans plans(*loaded.model);
    if (arrivals) return watch(*arrivals, jobs, *loaded.model, plans);
    const std::vector<ExitCode> failures = finish(jobs, *loaded.model, plans);
    if (failures.empty()) return ExitCode::ok;
    // Of one picture that was named; one of a folder, a pattern or a shard is one of many.
    if (batch_.inputs.size() == 1 && jobs.front().input == batch_.inputs.front()) return failures.front();
    print_note(cat("luxgrad: ", jobs.size() - failures.size(), " of ", jobs.size(), " pictures done"));
    return ExitCode::some_failed;
  }

 private:
  void check_options() {
    work_.memory_asked = memory_.has_value();
    work_.curves = !batch_.curves.empty();
    constexpr double kShare = 0.6;
    const auto free = static_cast<double>(std::max<int64_t>(0, available_bytes()));
    work_.memory = memory_.value_or(static_cast<int64_t>(kShare * free));  // 0, no limit: nobody knows
    if (!format_.empty()) batch_.format = format_named(format_);
    if (!shard_.empty()) set_shard(batch_, shard_);
    if (!threads_.empty()) set_threads();
    if (compare_->count() > 0) {
      check_usage(page_.empty() || page_.ends_with(".html"),
                  "--compare: expected a name that ends in .html, got ", page_);
      work_.compared = true;
      work_.side_by_side = page_.empty();
      batch_.page = page_;
    }
    if (watched_.empty()) return;
    check_usage(batch_.inputs.empty() && !batch_.recursive,
                "--watch takes no other inputs, and no folders below");
    check_usage(batch_.page.empty(), "--compare: a page shows one picture");
    std::error_code unknown;
    check_usage(batch_.output != "-" && !fs::equivalent(watched_, batch_.output, unknown),
                "--watch needs another folder for the results");
    if (!batch_.output.ends_with('/')) batch_.output += '/';
    if (!batch_.overwrite) batch_.skip_existing = true;
    batch_.inputs = {watched_};
  }

  /// The jobs of a batch. Nothing that the command line reads is written.
  std::vector<Job> plan(const BatchOptions& batch) const {
    Outputs outputs(batch.overwrite);
    if (!choice_.weights.empty()) outputs.add_input(choice_.weights);
    add_inputs(guidance_, outputs);
    std::vector<Job> jobs = plan_batch(batch, outputs);
    if (!guidance_.save_look.empty()) outputs.demand(guidance_.save_look);
    return jobs;
  }

  /// `4` or `2:4:2`.
  void set_threads() {
    std::vector<int> numbers;
    const char* at = threads_.data();
    const char* const end = at + threads_.size();
    for (bool more = true; more;) {
      int number = 0;
      const auto [next, error] = std::from_chars(at, end, number);
      const bool sound =
          error == std::errc() && number >= 1 && number <= kMaxThreads && (next == end || *next == ':');
      check_usage(sound && numbers.size() < 3, "--threads: expected N or LOAD:NETWORK:SAVE, 1 to ",
                  kMaxThreads, " each, got ", threads_);
      numbers.push_back(number);
      more = next != end;
      at = next + 1;
    }
    check_usage(numbers.size() != 2, "--threads: expected N or LOAD:NETWORK:SAVE, got ", threads_);
    if (numbers.size() == 3) {
      loaders_ = numbers[0];
      savers_ = numbers[2];
    }
    where_.threads = numbers[numbers.size() / 2];
  }

  /// Does the jobs and reports them; the codes of those that failed.
  std::vector<ExitCode> finish(const std::vector<Job>& jobs, Model& model, SharedPlans& plans) const {
    check_usage(batch_.page.empty() || jobs.size() <= 1, "--compare: a page shows one picture");
    ProgressLine progress(progress_style(progress_));
    const auto all = static_cast<int64_t>(jobs.size());
    const int workers = workers_for(jobs.size(), model);
    const size_t ahead = static_cast<size_t>(workers) + 2 * static_cast<size_t>(loaders_);
    PictureOptions options = work_;
    if (all > 1) options.program += (loaders_ + savers_ + workers) * kStageThread;
    options.files = waiting_files(jobs);
    options.together = std::min<int64_t>(all, workers + loaders_);
    constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
    MemoryAtWork at_work(jobs.size(),
                         options.memory > 0 ? options.memory - options.program - options.files : kNoLimit);
    std::deque<PictureWork> works;  // which do not move
    for (const Job& job : jobs) works.emplace_back(works.size(), job, batch_, options, model, plans, at_work);
    std::mutex progresses;
    int64_t reported = 0;
    pictures_so_far.all = all;
    std::vector<ExitCode> failures;
    const auto report = [&](size_t i) {
      if (const auto& failure = works[i].failure()) {
        print_failure(*failure);
        failures.push_back(failure->code);
      }
      if (json_) {
        const std::string line = works[i].json_line();
        batch_.output == "-" ? print_note(line) : print_result(line);
        flush_results();  // a script may wait for it, and a signal may end the next picture
      }
      const std::lock_guard lock(progresses);
      progress.show(++reported, all, jobs[i].input);
      pictures_so_far.done = reported;
    };
    run_stages(jobs.size(), loaders_, workers, savers_,
               {.load =
                    [&](size_t i) {
                      if (stop_requested) works[i].skip();
                      for (size_t next = i + 1; next < std::min(works.size(), i + ahead); ++next)
                        works[next].measure();
                      works[i].load();
                    },
                .begin =
                    [&](size_t i) {
                      if (stop_requested) works[i].skip();
                      const int64_t beside =
                          bytes_beside(works, i, static_cast<size_t>(workers), at_work.room(), options.files);
                      works[i].begin(beside, [&](int64_t bytes) {
                        const std::lock_guard lock(progresses);
                        progress.expect(reported, all, jobs[i].input, bytes);
                      });
                    },
                .work = [&](size_t i) { works[i].enhance(); },
                .save = [&](size_t i) { works[i].save(); },
                .report = report,
                .stop = [&] { at_work.stop(); }});
    return failures;
  }

  /// Of files that loaders hold while they wait for the memory of their pictures.
  int64_t waiting_files(const std::vector<Job>& jobs) const {
    int64_t largest = 0;
    for (const Job& job : jobs) {
      std::error_code unknown;
      const auto bytes = static_cast<int64_t>(fs::file_size(job.input, unknown));
      if (!unknown && jobs.size() > 1) largest = std::max(largest, bytes);
    }
    return loaders_ * largest;
  }

  /// How many photos are enhanced at the same time: where there are plenty, each in a thread of its own, so
  /// that none waits for others at the end of every operator. Not where one may be done again in another
  /// precision, which is that of all, nor where more than its network takes memory.
  int workers_for(size_t jobs, const Model& model) const {
    const bool rows = !work_.augment && !work_.compared && !work_.verify_tiles && !work_.curves;
    const bool alike = model.device() == kCpu && !rounds_more(kCpu);
    const int threads = num_threads();
    return rows && alike && jobs >= 2 * static_cast<size_t>(threads) ? threads : 1;
  }

  /// What others are thought to take while one is enhanced: those beside it, written, and read ahead, as far
  /// as there is room. Those that nobody has measured yet are taken to be like this one.
  int64_t bytes_beside(const std::deque<PictureWork>& works, size_t one, size_t workers, int64_t room,
                       int64_t files) const {
    const PictureBytes own = works[one].bytes().value_or(PictureBytes());
    const auto savers = static_cast<size_t>(savers_), loaders = static_cast<size_t>(loaders_);
    int64_t bytes = 0, left = room - own.most;
    const auto add = [&](size_t i, int64_t PictureBytes::*held, int64_t PictureBytes::*takes) {
      if (i >= works.size()) return;  // also one before the first
      const PictureBytes other = works[i].bytes().value_or(own);
      left -= other.*held;
      if (left >= 0) bytes += other.*takes;
    };
    for (size_t i = 1; i < workers; ++i)
      add(one + i < works.size() ? one + i : one - i, &PictureBytes::most, &PictureBytes::most);
    for (size_t i = 0; i < (savers + 1) / 2; ++i)  // who wants many writes slowly, but not all at once
      add(one - workers - i, &PictureBytes::writing, &PictureBytes::writing);
    for (size_t i = 0; i < 2 * loaders; ++i)
      add(one + workers + i, &PictureBytes::most, i == 0 ? &PictureBytes::reading : &PictureBytes::waiting);
    if (left >= 0) return bytes;
    return bytes + std::min(files, room + files - own.most - bytes);  // in the hand of who waits for memory
  }

  /// What is there, then what comes, until a signal.
  ExitCode watch(FolderWatch& arrivals, const std::vector<Job>& jobs, Model& model, SharedPlans& plans) {
    std::set<std::string> done;  // here: a picture that comes again under its name is enhanced again
    for (const Job& job : jobs) {
      if (!job.skip && !job.refused) done.insert(fs::path(job.input).filename());
    }
    const bool any = !(jobs.size() == 1 && jobs.front().input == watched_);
    size_t failed = any ? finish(jobs, model, plans).size() : 0;
    while (!stop_requested) {
      const std::optional<std::string> name = arrivals.next(stop_requested);
      if (!name || !image_format_of(*name)) continue;
      BatchOptions one = batch_;
      one.inputs = {(fs::path(watched_) / *name).string()};
      if (!done.insert(*name).second) {
        one.overwrite = true;
        one.skip_existing = false;
      }
      failed += finish(plan(one), model, plans).size();
    }
    if (failed > 0) print_note(cat("luxgrad: pictures that failed: ", failed));
    if (arrivals.missed()) {
      print_note(cat("luxgrad: ", watched_,
                     ": more files came at once than the system notes; the same command ",
                     "takes those that were missed"));
    }
    return failed > 0 || arrivals.missed() ? ExitCode::some_failed : ExitCode::ok;
  }

  BatchOptions batch_;
  ModelChoice choice_;
  Guidance guidance_;
  RunsOn where_;
  PictureOptions work_;
  std::string format_, shard_, watched_, threads_, page_;
  const CLI::Option* compare_ = nullptr;
  std::optional<int64_t> memory_;
  int loaders_ = 1, savers_ = 1;
  bool json_ = false;
  std::string progress_ = "bar";
};

}  // namespace

std::unique_ptr<Command> make_enhance(CLI::App& app) { return std::make_unique<Enhance>(app); }

}  // namespace lux
