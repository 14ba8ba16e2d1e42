// Every allocation fails once: reading pictures and weights, a training step, the loader, saving, enhancing.
// What comes is a clean error, never a crash, a leak, half a file or a changed model; afterwards all is as
// ever.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>

#include "failing_malloc.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/folder.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/layout.h"
#include "luxgrad/data/loader.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/official_weights.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tools/stages.h"
#include "luxgrad/training/run_folder.h"
#include "luxgrad/training/stepper.h"
#include "narrow_models.h"
#include "process_state.h"
#include "pth_file.h"
#include "same_bits.h"
#include "sample_pictures.h"
#include "scopes.h"
#include "temporary_folder.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

/// What fails: one allocation, all from it on, or one of the tensors', which may come from their cache.
enum class Failure { one, lasting, tensor };

/// Tries `action` with its k-th allocation failing; false when it has no such. Fails the test for an error of
/// another kind, and for blocks, tensors and files that are left over.
bool try_without(Failure failure, int64_t k, const std::function<void()>& action) {
  memory::trim();
  const int64_t blocks = heap::live, tensors = memory::stats().live, files = open_files();
  bool failed = false, strange = false;
  if (failure == Failure::tensor)
    memory::fail_allocation(k);
  else
    heap::fail_allocation(k, failure == Failure::lasting);
  try {
    action();
  } catch (const OutOfMemory&) {
    failed = true;
  } catch (const std::bad_alloc&) {
    failed = true;
  } catch (const FileException&) {
    failed = true;
  } catch (...) {
    strange = true;
  }
  heap::fail_none();
  memory::fail_allocation(0);
  memory::trim();
  const int64_t left_over = heap::live - blocks;
  CAPTURE(k);
  if (strange) FAIL_CHECK("an exception of another type");
  if (left_over != 0) FAIL_CHECK(left_over, " blocks left over");
  if (memory::stats().live != tensors) FAIL_CHECK("tensors left over");
  if (open_files() != files) FAIL_CHECK("files left open");
  return failure == Failure::tensor ? failed : heap::failures > 0;
}

/// Fails every allocation of `action`, each in a try of its own, for each kind of failure; `check` looks at
/// what every try leaves behind. The last try of each kind has no such allocation and works as ever. With a
/// `stride`, only the first and every stride-th after it.
void fail_every_allocation(const std::string& name, const std::function<void()>& action,
                           const std::function<void()>& check, int64_t stride = 1) {
  CAPTURE(name);
  for (int warm = 0; warm < 2; ++warm) {  // for what is made once and kept
    action();
    check();
  }
  std::string counts;
  for (const Failure failure : {Failure::one, Failure::lasting, Failure::tensor}) {
    int64_t failures = 0;
    while (try_without(failure, failures * stride + 1, action)) {
      ++failures;
      check();
    }
    check();  // of the last try, where all went well
    counts += cat(counts.empty() ? "" : ", ", failures);
  }
  MESSAGE(name, ": allocations that failed alone, with all after them, and of tensors: ", counts);
}

template <class F>
struct OnExit {
  explicit OnExit(F f) : f(std::move(f)) {}
  OnExit(const OnExit&) = delete;
  OnExit& operator=(const OnExit&) = delete;
  ~OnExit() { f(); }
  F f;
};

bool equal(const State& a, const State& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const auto& entry) {
           return same_bits(entry.second, b.at(entry.first));
         });
}

Tensor noise_tensor(uint64_t seed, double brightest) {
  Tensor picture = empty({1, 16, 16, 3});
  Generator generator(seed, "noise");
  fill_uniform_(picture, 0, brightest, generator);
  return picture;
}

Image sample(bool wide) {
  Image image = samples::picture(13, 7, 4, wide ? 16 : 8);
  image.exif = samples::exif(6);
  image.icc = std::vector<uint8_t>(300, 7);
  return image;
}

}  // namespace

TEST_CASE("reading and writing pictures of all formats") {
  const TemporaryFolder folder(in_memory());
  for (const char* const extension : {"png", "jpg", "bmp", "ppm"}) {
    const Image image = sample(std::string_view(extension) != "jpg");
    const std::string path = folder.path() / cat("picture.", extension);
    save_image(path, image);
    const Image whole = load_image(path);
    const std::vector<uint8_t> bytes = read_file(path).value();
    bool same = true;
    fail_every_allocation(
        cat("load ", extension), [&] { same = samples::same_pixels(load_image(path), whole); },
        [&] { CHECK(same); });
    fail_every_allocation(
        cat("save ", extension), [&] { save_image(path, image); },
        [&] {
          CHECK(read_file(path).value() == bytes);
          CHECK(list_folder(folder.path()).value().size() == 1);
        });
    fs::remove(path);
  }
}

TEST_CASE("reading weights leaves the model as it was, or with all of them") {
  const TemporaryFolder folder(in_memory());
  for (const char* const name : {"zero_dce", "zero_dce_plus"}) {
    const std::unique_ptr<Model> model = make_model(name), other = make_model(name);
    model->init_(Generator(1, "before"));
    other->init_(Generator(2, "after"));
    const State before = clone(model->state_dict()), after = clone(other->state_dict());
    const std::string path = folder.path() / name;
    const auto read_without_memory = [&](const std::string& kind) {
      fail_every_allocation(
          cat(kind, " of ", name),
          [&] { model->load_state_dict(adapted_weights(*model, load_weights(path).state)); },
          [&] {
            CHECK((equal(model->state_dict(), before) || equal(model->state_dict(), after)));
            model->load_state_dict(before);
          });
    };
    save_weights(path, after, to_metadata(*other));
    read_without_memory("weights");
    (void)write_file_atomically(path, serialize_npz(after)).value();
    read_without_memory("arrays");
    State theirs;
    for (const auto& [parameter, tensor] : after) theirs[parameter] = pth::torch_layout(tensor, false);
    for (const pth::Container container : {pth::Container::archive, pth::Container::stream}) {
      (void)write_file_atomically(path, pth::state_file(theirs, container)).value();
      read_without_memory("checkpoint of PyTorch");
    }
  }
}

TEST_CASE("in every network the updates of a training step are done or not done") {
  const Threads two(2);
  for (const ModelMaker make : kNarrowModels) {
    const std::unique_ptr<Model> model = make();
    model->init_(Generator(1, "init"));
    model->requires_grad_();
    Recipe recipe = make_recipe(model->name(), "default");
    recipe.clip_norm = 1;
    Stepper stepper(recipe, *model);
    const Tensor low = noise_tensor(1, 0.2), high = noise_tensor(2, 0.9);
    const State weights = clone(model->state_dict()), moments = clone(stepper.state_dict());
    struct Snapshot {
      State weights, moments;
    };
    std::map<std::vector<double>, Snapshot> after;  // by the updates that each optimiser counts
    const auto snapshot = [&] { return Snapshot{clone(model->state_dict()), clone(stepper.state_dict())}; };
    const auto updates = [&] {
      std::vector<double> counts;
      for (const auto& [name, tensor] : stepper.state_dict()) {
        if (tensor.dtype() == DType::i64) counts.push_back(tensor.item());
      }
      return counts;
    };
    after[updates()] = snapshot();
    fail_every_allocation(
        "step of narrow " + model->name(),
        [&] {
          const OnExit drop_gradients([&] { stepper.zero_grad(); });
          (void)stepper.step({low, high, 1}, recipe.adam.lr);
        },
        [&] {
          const auto [known, is_new] = after.try_emplace(updates());
          if (is_new) known->second = snapshot();
          CHECK(equal(model->state_dict(), known->second.weights));
          CHECK(equal(stepper.state_dict(), known->second.moments));
          model->load_state_dict(weights);
          stepper.load_state_dict(moments);
        },
        model->named_parameters().size() > 30 ? 211 : 1);
    CHECK(after.size() == recipe.objective->updates().size() + 1);
  }
}

TEST_CASE("threads start, or fewer do the work") {
  const Threads before(1);
  std::array<int64_t, 64> squares{};
  fail_every_allocation(
      "threads",
      [&] {
        const OnExit join([] { set_num_threads(1); });
        set_num_threads(3);
        run_chunks(64, [&](int64_t i) { squares[static_cast<size_t>(i)] = i * i; });
      },
      [&] {
        set_num_threads(1);
        run_chunks(64,
                   [&](int64_t i) { CHECK(squares[static_cast<size_t>(i)] % (i + 1) == (i == 0 ? 0 : 1)); });
      });
}

namespace {

/// Carries texts through the stages; each stage makes its own, and throws where it is told to.
struct TextStages {
  static constexpr size_t kJobs = 8, kThrows = 3;
  std::string throwing;  // a stage, at job kThrows
  std::array<std::string, kJobs> texts{};
  size_t reported = 0;
  bool in_order = true;

  void pass(const char* stage, size_t job) {
    if (stage == throwing && job == kThrows) throw Error(throwing);
    texts[job] += cat(std::string(40, ' '), stage);
  }
  void run(int loaders, int workers, int savers) {
    for (std::string& text : texts) text = {};
    reported = 0;
    size_t begun = 0;
    run_stages(kJobs, loaders, workers, savers,
               {.load = [&](size_t i) { pass("load", i); },
                .begin =
                    [&](size_t i) {
                      in_order &= i == begun++;
                      pass("begin", i);
                    },
                .work = [&](size_t i) { pass("work", i); },
                .save = [&](size_t i) { pass("save", i); },
                .report =
                    [&](size_t i) {
                      pass("report", i);
                      CHECK(i == reported);
                      ++reported;
                    },
                .stop = [] {}});
  }
};

}  // namespace

TEST_CASE("stages do their work with fewer threads, or end them and pass the error on") {
  TextStages stages;
  for (const int workers : {1, 3}) {
    fail_every_allocation(
        "stages",
        [&] {
          const OnExit drop_texts([&] { stages.texts = {}; });
          stages.run(2, workers, 1);
          CHECK(stages.reported == TextStages::kJobs);
          CHECK(stages.in_order);
        },
        [&] { CHECK(stages.reported <= TextStages::kJobs); });
  }
}

TEST_CASE("where no thread can be started, the caller does all of the work") {
  const Threads wanted(4);
  const NoNewThreads none;
  int64_t sum = 0;  // of one thread
  run_chunks(64, [&](int64_t i) { sum += i; });
  CHECK(sum == 64 * 63 / 2);
  CHECK(num_threads() == 1);
  TextStages stages;
  stages.run(3, 3, 3);
  CHECK(stages.reported == TextStages::kJobs);
}

TEST_CASE("what a stage throws reaches the caller, once nothing is at work") {
  for (const char* const stage : {"load", "begin", "work", "save", "report"}) {
    CAPTURE(stage);
    for (const int threads : {0, 1, 3}) {
      CAPTURE(threads);
      TextStages stages{stage};
      CHECK_THROWS_WITH_AS(stages.run(threads, threads, threads), stage, Error);
      CHECK(stages.reported <= TextStages::kThrows);
    }
  }
}

TEST_CASE("the loader ends its thread and passes the error on") {
  const TemporaryFolder folder(in_memory());
  for (const char* const part : {"low", "high"}) {
    fs::create_directory(folder.path() / part);
    for (int i = 0; i < 3; ++i)
      save_image(folder.path() / part / cat(i, ".png"), samples::picture(20 + i, 18, 3, 8));
  }
  const PictureList pictures = open_dataset(folder.path()).pictures;
  const LoaderOptions options{.batch_size = 2, .size = 16};
  const Tensor expected = Loader(pictures, options).next().low;
  {
    const NoNewThreads none;
    Loader alone(pictures, options);
    Loader other(pictures, options);
    other.seek(1, 0);
    CHECK(same_bits(alone.next().low, expected));
    CHECK(alone.next().index == 1);
    CHECK(same_bits(alone.next().low, other.next().low));
  }
  bool same = true;
  fail_every_allocation(
      "loader", [&] { same = same_bits(Loader(pictures, options).next().low, expected); },
      [&] { CHECK(same); });
}

TEST_CASE("a save gives the old checkpoints or the new one, and no other file") {
  const TemporaryFolder folder(in_memory());
  RunFolder run(folder.path() / "run");
  const std::unique_ptr<Model> model = make_model("zero_dce_plus");
  model->init_(Generator(1, "init"));
  Checkpoint checkpoint{to_metadata(*model), model->state_dict(), {}, {{"model", "zero_dce_plus"}}, {}};
  (void)run.save(checkpoint);
  checkpoint.progress.step = 1;
  const std::string second = folder.path() / "run/checkpoints" / checkpoint_name(1);
  fail_every_allocation(
      "save", [&] { (void)run.save(checkpoint); },
      [&] {
        std::vector<FileError> damaged;
        const auto found = run.latest(damaged);
        REQUIRE(found);
        CHECK(damaged.empty());
        CHECK(found->checkpoint.progress.step == (fs::exists(second) ? 1 : 0));
        CHECK(equal(found->checkpoint.weights, checkpoint.weights));
        CHECK(list_folder(folder.path() / "run/checkpoints").value().size() ==
              (fs::exists(second) ? 2u : 1u));
        fs::remove(second);
      });
  StepRecord record{.epoch = 1, .step = 1, .losses = {{"total", 0.5}}};
  int64_t lines = 0;
  fail_every_allocation(
      "log", [&] { lines += run.log(record) ? 1 : 0; }, [] {});
  CHECK(lines >= 4);
}

TEST_CASE("a picture is enhanced, or nothing is written") {
  const Threads two(2);
  const TemporaryFolder folder(in_memory());
  const std::string dark = folder.path() / "dark.png", bright = folder.path() / "bright.png";
  save_image(dark, sample(false));
  for (const char* const name : {"zero_dce", "zero_dce_plus"}) {
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator(3, "init"));
    const auto run = [&] {
      const Image before = load_image(dark);
      save_image(bright, from_tensor(enhance(*model, to_tensor(before)), before));
    };
    run();
    const std::vector<uint8_t> expected = read_file(bright).value();
    fail_every_allocation(cat("enhance with ", name), run, [&] {
      if (fs::exists(bright)) CHECK(read_file(bright).value() == expected);
      fs::remove(bright);
      CHECK(list_folder(folder.path()).value().size() == 1);
    });
  }
}
