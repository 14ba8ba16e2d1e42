// A long run holds no more memory, files and threads at its end than after its start. The whole length with
// LUX_SOAK=1 (label `long`), else a hundredth of it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "failing_malloc.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/loader.h"
#include "luxgrad/data/y4m.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/models/steady.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/training/run_folder.h"
#include "luxgrad/training/stepper.h"
#include "process_state.h"
#include "sample_pictures.h"
#include "scopes.h"
#include "temporary_folder.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kRounds = 20, kWarm = 4;
constexpr int64_t kSteps = 200'000, kEnhancements = 20'000, kSaves = 500, kFrames = 20'000;
constexpr int64_t kFirstStep = (int64_t{1} << 31) - 100;  // so that counters pass what 32 bits hold
constexpr int64_t kMargin = int64_t{2} << 20;  // bytes that the process may grow after the warm rounds

/// A small network in training, with its pictures and its run folder.
class Studio {
 public:
  explicit Studio(int64_t rounds_length) : divisor_(rounds_length) {
    for (int i = 0; i < 6; ++i)
      save_image(data() / cat(i, ".png"), samples::picture(20 + 3 * i, 18 + i, 3, 8));
    model_->init_(Generator(1, "init"));
    model_->requires_grad_();
  }

  /// The `round`-th twentieth of everything.
  void work(int64_t round) {
    const auto part = [&](int64_t all) { return all * (round + 1) / kRounds - all * round / kRounds; };
    Loader loader(unpaired_folder(data()),
                  {.batch_size = 1, .size = 16, .seed = static_cast<uint64_t>(round)});
    for (int64_t i = 0; i < part(kSteps / divisor_); ++i) train(loader.next());
    for (int64_t i = 0; i < part(kEnhancements / divisor_); ++i) brighten();
    for (int64_t i = 0; i < part(kSaves / divisor_); ++i) save();
    show(part(kFrames / divisor_));
  }

  int64_t steps = kFirstStep, enhancements = 0, saves = 0, frames = 0;

 private:
  fs::path data() const {
    fs::create_directories(folder_.path() / "data");
    return folder_.path() / "data";
  }

  void train(const Batch& batch) {
    const StepOutcome outcome = stepper_.step({batch.low, batch.high}, recipe_.adam.lr);
    REQUIRE(
        run_.log({.epoch = 1, .step = ++steps, .losses = outcome.losses, .grad_norm = outcome.grad_norm}));
  }

  void brighten() {
    // All sizes and formats come in the warm rounds.
    const auto side = [this](int64_t factor) { return 5 + 4 * (enhancements * factor % 9); };
    const ImageFormat format = kFormats[enhancements % 4];
    const std::vector<uint8_t> file = encode_image(samples::picture(side(7), side(11), 3, 8), format);
    const Image dark = decode_image(file).value();
    const Image bright = from_tensor(enhance(*model_, to_tensor(dark)), dark);
    REQUIRE(encode_image(bright, format).size() > 0);
    ++enhancements;
  }

  void save() {
    Checkpoint checkpoint{to_metadata(*model_), model_->state_dict(), stepper_.state_dict(), {}, {}};
    checkpoint.progress.step = steps + ++saves;
    (void)run_.save(checkpoint);
    (void)run_.rewind_logs({});  // or the logs fill the memory that this folder may live in
  }

  // A part of a film, which stays one for the network.
  void show(int64_t count) {
    const std::string dark = folder_.path() / "dark.y4m", bright = folder_.path() / "bright.y4m";
    VideoFrame frame, answer;
    const auto film = create_y4m(dark, format_);
    frame.samples.resize(static_cast<size_t>(format_.frame_bytes()));
    for (frame.time = 0; frame.time < count; ++frame.time) {
      for (size_t i = 0; i < frame.samples.size(); ++i)
        frame.samples[i] = static_cast<uint8_t>(16 + (7 * i + 3 * static_cast<size_t>(frame.time)) % 60);
      REQUIRE(film->write(frame));
    }
    REQUIRE(film->finish(false));
    const auto source = open_y4m(dark);
    const auto sink = create_y4m(bright, format_);
    while (source->next(frame).value()) {
      from_tensor(steady_.next(to_tensor(frame, format_)), format_, answer);
      answer.time = frame.time;
      REQUIRE(sink->write(answer));
      ++frames;
    }
    REQUIRE(sink->finish(false));
  }

  static constexpr ImageFormat kFormats[] = {ImageFormat::png, ImageFormat::jpeg, ImageFormat::bmp,
                                             ImageFormat::pnm};

  int64_t divisor_;
  TemporaryFolder folder_{in_memory()};
  RunFolder run_{folder_.path() / "run"};
  Recipe recipe_ = make_recipe("zero_dce_plus", "official");
  std::unique_ptr<Model> model_ = make_model("zero_dce_plus");
  Stepper stepper_{recipe_, *model_};
  VideoFormat format_{.width = 16, .height = 12};
  SteadyEnhancer steady_{*model_, 0.8};
};

/// What the process holds between two rounds.
struct Holdings {
  int64_t files, threads, tensors, blocks, resident;
};

Holdings now() {
  memory::trim();
  return {open_files(), running_threads(), memory::stats().live, heap::live, resident_memory()};
}

}  // namespace

TEST_CASE("training, enhancing and saving for long holds no more at the end than after the start") {
  const Threads two(2);
  const int64_t divisor = std::getenv("LUX_SOAK") != nullptr ? 1 : 100;
  Studio studio(divisor);
  std::vector<Holdings> held;  // looked at in the end, for the looking needs memory itself
  held.reserve(kRounds);
  for (int64_t round = 0; round < kRounds; ++round) {
    studio.work(round);
    held.push_back(now());
  }
  const Holdings before = held[kWarm - 1];
  int64_t growth = 0;
  for (size_t round = kWarm; round < held.size(); ++round) {
    CAPTURE(round);
    CHECK(held[round].files == before.files);
    CHECK(held[round].threads == before.threads);
    CHECK(held[round].tensors == before.tensors);
    CHECK(held[round].blocks == before.blocks);
    growth = std::max(growth, held[round].resident - before.resident);
  }
#ifdef LUX_SANITIZED
  MESSAGE("skipped: the bound of the process, for sanitizers keep what was freed");
#else
  CHECK(growth <= kMargin);
#endif
  CHECK(studio.steps - kFirstStep == kSteps / divisor);
  CHECK(studio.enhancements == kEnhancements / divisor);
  CHECK(studio.saves == kSaves / divisor);
  CHECK(studio.frames == kFrames / divisor);
  const std::string figures =
      cat(kSteps / divisor, " steps, ", kEnhancements / divisor, " enhancements, ", kSaves / divisor,
          " saves, ", kFrames / divisor, " frames: the process grew by at most ", growth >> 10, " KiB, from ",
          before.resident >> 10);
  MESSAGE(figures);
}
