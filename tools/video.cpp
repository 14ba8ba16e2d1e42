// luxgrad video: films in, brighter films out, frame by frame.
#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/film.h"
#include "luxgrad/data/live_source.h"
#include "luxgrad/data/y4m.h"
#include "luxgrad/models/steady.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tools/autotune.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/guidance.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/number_option.h"
#include "luxgrad/tools/outputs.h"
#include "luxgrad/tools/precision_choice.h"
#include "luxgrad/tools/published_video.h"
#include "luxgrad/tools/stop.h"
#include "luxgrad/tools/words.h"

namespace fs = std::filesystem;

namespace lux {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool is_y4m(const std::string& path) { return path == "-" || fs::path(path).extension() == ".y4m"; }

/// `90`, `1:30`, `0:01:30.5` as seconds. Throws CommandError.
double time_from(const std::string& option, const std::string& text) {
  double seconds = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (int parts = 0; parts < 3; ++parts) {
    double part = -1;
    const auto [next, error] = std::from_chars(at, end, part, std::chars_format::fixed);
    if (error != std::errc() || !(part >= 0 && part <= 1e9)) break;
    seconds = 60 * seconds + part;
    if (next == end) return seconds;
    if (*next != ':') break;
    at = next + 1;
  }
  usage_error(option, ": expected seconds or H:MM:SS, got ", text);
}

/// What was done, for the last line and --json.
struct Tally {
  int64_t frames = 0;  // given out, repetitions included
  int64_t dropped = 0;
  double seconds = 0, network = 0;
  int64_t memory_early = 0;  // resident, once everything is set up
  FlickerReport flicker{};
};

constexpr int64_t kWarmFrames = 100;

constexpr double kLongestLatency = 1e9;  // milliseconds

class Video final : public Command {
 public:
  explicit Video(CLI::App& app) {
    app.add_option("-i,--input,input", input_, "A film; - is Y4M from standard input")->type_name("IN");
    app.add_option("-o,--output", output_, "A film (.mp4, .mov, .mkv, .webm, .ts, .avi), .y4m, or - for Y4M")
        ->type_name("OUT");
    add_model_options(app, choice_);
    app.add_option("-s,--strength", strength_, "How much of the enhancement, 0 to 1 (default 1)")
        ->type_name("S")
        ->check(finite_number(0, 1));
    app.add_option("--smoothing", smoothing_,
                   "Weight of the past against flicker, 0 to below 1 (default 0.8)")
        ->type_name("S")
        ->check(finite_number(0, 1));
    add_guidance_options(app, guidance_);
    add_device_options(app, where_);
    add_precision_option(app, where_.precision);
    add_autotune_option(app, where_);
    app.add_option("--codec", write_.codec,
                   "h264, hevc, av1, vp9, or an encoder of ffmpeg (default: by name)")
        ->type_name("NAME")
        ->check(offers({"h264", "hevc", "av1", "vp9"}));
    app.add_option("--crf", write_.crf,
                   "Constant quality of the encoder; less is better (default: 18 for h264)")
        ->type_name("N")
        ->check(CLI::Range(0, 63).description(""));
    app.add_option("--preset", write_.preset, "Of the encoder, for example ultrafast")->type_name("NAME");
    app.add_option("--from", from_, "Begin there: seconds or H:MM:SS")->type_name("TIME");
    app.add_option("--to", to_, "End there")->type_name("TIME");
    app.add_option("--latency", latency_,
                   "Live: drop frames that have waited longer than so many milliseconds")
        ->type_name("MS")
        ->check(finite_number(0, kLongestLatency));
    app.add_option("--compat", compat_, "256: the published program, 256x256, BGR, truncated")
        ->type_name("NAME")
        ->check(one_of({"256"}));
    app.add_flag("--overwrite", overwrite_, "Replace an output that exists");
    app.add_flag("--json", json_, "Print one JSON object at the end");
    app.add_option("--progress", progress_, "none, bar or json, on standard error (default bar)")
        ->type_name("KIND")
        ->check(one_of({"none", "bar", "json"}));
  }

  ExitCode run() override {
    check_options();
    const LoadedModel loaded = load_model(choice_, apply(where_));
    const Autotuning autotuning(where_);
    weights_ = try_precision(*loaded.model);
    apply(guidance_, *loaded.model);
    stop_on_signals();
    Tally tally;
    try {
      open();
    } catch (const FileException&) {
      if (!stop_requested) throw;  // else what was cut off is no error
    }
    if (!stop_requested) enhance_all(*loaded.model, tally);
    if (stop_requested && !reader_left_ && tally.frames == 0)
      return stopped(" before the first frame; ", output_, " is not written");
    if (!reader_left_) {
      check_any(tally);
      check_written(sink_->finish(stop_requested));
    }
    report(tally, *loaded.model);
    if (!stop_requested || reader_left_) return ExitCode::ok;
    return stopped("; ", output_, " plays as far as it got");
  }

 private:
  template <class... Parts>
  static ExitCode stopped(const Parts&... how) {
    print_note(cat("luxgrad: stopped by signal ", last_signal(), how...));
    return static_cast<ExitCode>(128 + last_signal());
  }

  void check_options() {
    check_usage(!input_.empty(), "no input; name a film with -i");
    check_usage(!output_.empty(), "no output; name a film with -o");
    check_usage(smoothing_ >= 0 && smoothing_ < 1, "--smoothing: expected 0 to below 1, got ", smoothing_);
    check_usage(is_y4m(output_) || is_film_name(output_), output_,
                ": expected a name that ends in .mp4, .mov, .mkv, .webm, .ts, .avi or .y4m");
    const auto word = [](const std::string& text) {
      return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
             std::string::npos;
    };
    check_usage(word(write_.codec) && !write_.codec.starts_with('-'), "--codec: expected a name, got ",
                write_.codec);
    check_usage(word(write_.preset) && !write_.preset.starts_with('-'), "--preset: expected a name, got ",
                write_.preset);
    if (!from_.empty()) range_.from = time_from("--from", from_);
    if (!to_.empty()) range_.to = time_from("--to", to_);
    check_usage(!range_.to || *range_.to > range_.from, "--to: expected a time after ", range_.from, " s");
    Outputs outputs(overwrite_);
    for (const std::string& path : {input_, choice_.weights}) outputs.add_input(path);
    add_inputs(guidance_, outputs);
    if (output_ != "-") outputs.demand(output_);
    if (!guidance_.save_look.empty()) outputs.demand(guidance_.save_look);
  }

  /// Refuses a film, or a part of one, without a frame.
  void check_any(const Tally& tally) const {
    if (tally.frames > 0) return;
    const std::string part = range_.whole() ? ""
                             : range_.to    ? cat(" from ", range_.from, " s to ", *range_.to, " s")
                                            : cat(" from ", range_.from, " s on");
    throw FileException({FileErrorCode::unsupported, input_, -1, cat("has no frame", part)});
  }

  /// An encoder or a preset that ffmpeg does not know is a fault of the command line.
  void check_written(const Result<bool>& written) const {
    if (written) return;
    const std::string error = FileException(written.error()).what();
    const auto says = [&](const std::string& words) {
      return written.error().reason.find(words) != std::string::npos;
    };
    check_usage(!says("Unknown encoder "), "--codec: ", error);
    check_usage(write_.preset.empty() || !(says(cat("'", write_.preset, "'")) || says("setting preset") ||
                                           says("parameter 'preset'")),
                "--preset: ", error);
    (void)written.value();  // throws
  }

  /// The source and the sink.
  void open() {
    FilmInfo info;
    std::string original;
    if (is_y4m(input_)) {
      source_ = open_y4m(input_, &stop_requested);
    } else {
      info = probe_film(input_).value();
      original = input_;
      source_ = open_film(input_, info, {range_, is_y4m(output_), &stop_requested});
    }
    if (is_y4m(input_)) skip_ = range_;
    if (latency_ >= 0) {
      auto live = std::make_unique<LiveSource>(std::move(source_), latency_);
      live_ = live.get();
      source_ = std::move(live);
    }
    if (is_y4m(output_)) {
      sink_ = create_y4m(output_, source_->format());
    } else {
      sink_ = create_film(output_, source_->format(), write_, original, info, range_);
    }
  }

  void enhance_all(Model& model, Tally& tally) {
    ProgressLine progress(progress_style(progress_));
    const VideoFormat format = source_->format();
    memory::set_slack(100);  // so that frames find their blocks in the cache
    SteadyEnhancer steady(model, smoothing_, {.strength = strength_});
    std::optional<InF32> in_f32;
    VideoFrame frame, bright;
    const Clock::time_point start = Clock::now();
    while (!stop_requested && !reader_left_) {
      const Result<bool> more = source_->next(frame);
      if (stop_requested) break;  // and what was cut off thereby is no error
      if (!more.value()) break;
      const double time = static_cast<double>(frame.time) * format.time_base.value();
      if (skip_.to && time >= *skip_.to) break;
      if (time < skip_.from) continue;
      // Y4M has no times: what was dropped is shown as the frame before, so that the stream keeps its rate.
      if (live_ != nullptr && is_y4m(output_)) {
        for (int64_t missing = bright.time + 1; tally.frames > 0 && missing < frame.time && !reader_left_;
             ++missing)
          put(bright, tally);
      }
      const Clock::time_point before = Clock::now();
      const Tensor dark = to_tensor(frame, format);
      Tensor enhanced = finite_frame(model, steady, dark, in_f32);
      if (compat_.empty()) enhanced = steady.steadied(dark, enhanced);
      tally.network += seconds_since(before);
      from_tensor(enhanced, format, bright);
      bright.time = frame.time;
      put(bright, tally);
      tally.seconds = seconds_since(start);
      if (tally.frames <= kWarmFrames) tally.memory_early = resident_bytes();
      progress.show(tally.frames, source_->expected_frames(),
                    cat(fixed(static_cast<double>(tally.frames) / tally.seconds, 1), " frames/s"));
    }
    tally.flicker = steady.report();
    if (live_ != nullptr) tally.dropped = live_->dropped();
  }

  /// Where the precision does not do for a frame, the film goes on in f32: the next one is much the same.
  Tensor finite_frame(Model& model, SteadyEnhancer& steady, const Tensor& dark,
                      std::optional<InF32>& in_f32) const {
    const auto run = [&] {
      Tensor bright = enhanced_frame(model, steady, dark);
      print_graph_notice();
      check_finite(bright, input_);
      return bright;
    };
    if (!rounds_more(model.device())) return run();
    try {
      return run();
    } catch (const NotFinite&) {
      print_note(
          cat(input_, ": goes on in exact f32, for the network's result is not finite in ", precision()));
    }
    in_f32.emplace(model, weights_);
    return run();
  }

  /// Where the device has no memory left for a frame, the film goes on with less of one at a time, or on the
  /// CPU: the next one is as large.
  Tensor enhanced_frame(Model& model, SteadyEnhancer& steady, const Tensor& dark) const {
    const auto run = [&] {
      return compat_.empty() ? steady.answer(dark) : published_video_frame(model, dark, strength_);
    };
    while (model.device() != kCpu) {
      try {
        return run();
      } catch (const std::bad_alloc& error) {
        const auto less = compat_.empty()
                              ? in_half_the_memory(model, dark.size(1), dark.size(2), steady.options())
                              : std::nullopt;
        print_note(cat(input_, ": goes on ", less ? "with less of a frame at a time" : "on the CPU", ", for ",
                       error.what()));
        steady.set_options(less.value_or(EnhanceOptions{.strength = strength_}));
        if (!less) break;
      }
    }
    model.to(kCpu);
    model.to(DType::f32);
    return run();
  }

  void put(const VideoFrame& frame, Tally& tally) {
    const Result<bool> written = sink_->write(frame);
    reader_left_ = output_ == "-" && !written && reader_left(written.error());
    if (reader_left_) {       // whoever looked has seen enough
      stop_requested = true;  // also where the source waits for more
      return;
    }
    check_written(written);
    ++tally.frames;
  }

  void report(const Tally& tally, const Model& model) const {
    for (const std::string& complaint : {source_->complaint(), sink_->complaint()}) {
      if (!complaint.empty()) print_note(cat("luxgrad: warning: ", complaint));
    }
    const VideoFormat& format = source_->format();
    const double rate = tally.seconds > 0 ? static_cast<double>(tally.frames) / tally.seconds : 0;
    const double share = tally.seconds > 0 ? 100 * tally.network / tally.seconds : 0;
    std::string text;
    if (json_) {
      const nlohmann::ordered_json line = {{"input", input_},
                                           {"output", output_},
                                           {"status", stop_requested && !reader_left_ ? "stopped" : "ok"},
                                           {"width", format.width},
                                           {"height", format.height},
                                           {"frames", tally.frames},
                                           {"dropped", tally.dropped},
                                           {"model", model.name()},
                                           {"seconds", tally.seconds},
                                           {"frames_per_second", rate},
                                           {"network_percent", share},
                                           {"scenes", tally.flicker.scenes},
                                           {"flicker",
                                            {{"input", tally.flicker.input},
                                             {"before", tally.flicker.before},
                                             {"after", tally.flicker.after}}},
                                           {"memory", resident_bytes()},
                                           {"memory_growth", resident_bytes() - tally.memory_early}};
      text = line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    } else {
      text = printable(cat(output_, ": ", tally.frames, " frames of ", format.width, "x", format.height, ", ",
                           fixed(tally.seconds, 1), " s, ", fixed(rate, 1), " frames/s, network ",
                           fixed(share, 0), " % of the time"));
      if (live_ != nullptr) text += cat(", ", tally.dropped, " frames dropped");
      if (compat_.empty())
        text +=
            cat("; flicker index ", fixed(tally.flicker.before, 2), " % before smoothing, ",
                fixed(tally.flicker.after, 2), " % after, ", fixed(tally.flicker.input, 2), " % in the film");
    }
    output_ == "-" ? print_note(text) : print_result(text);
  }

  std::string input_, output_;
  ModelChoice choice_;
  Guidance guidance_;
  RunsOn where_;
  State weights_;  // as try_precision returned them
  double strength_ = 1, smoothing_ = 0.8, latency_ = -1;
  WriteFilmOptions write_;
  std::string from_, to_;
  TimeRange range_;  // of the command line
  TimeRange skip_;   // what the source does not skip by itself
  std::string compat_;
  bool overwrite_ = false, json_ = false;
  std::string progress_ = "bar";
  std::unique_ptr<FrameSource> source_;
  LiveSource* live_ = nullptr;  // the source, where it is live
  std::unique_ptr<FrameSink> sink_;
  bool reader_left_ = false;
};

}  // namespace

std::unique_ptr<Command> make_video(CLI::App& app) { return std::make_unique<Video>(app); }

}  // namespace lux
