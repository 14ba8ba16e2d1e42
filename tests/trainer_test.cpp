// training/trainer: runs that learn, resume with the same bits, and stop where numbers end.
#include "luxgrad/training/trainer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>

#include "gpu.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/file_ops.h"
#include "luxgrad/data/image.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/thread_pool.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

// Dark gradients with some noise: pictures that a curve can brighten.
void write_pictures(const std::filesystem::path& folder, int64_t count) {
  std::filesystem::create_directories(folder);
  for (int64_t i = 0; i < count; ++i) {
    Tensor picture = empty({1, 40, 48, 3});
    Generator generator(static_cast<uint64_t>(i), "trainer_test");
    fill_uniform_(picture, 0.02, 0.1, generator);
    for (int64_t k = 0; k < picture.numel(); ++k) {
      picture.data<float>()[k] += 0.2f * static_cast<float>((k / 3) % 48) / 48;
    }
    save_image(folder / cat("picture_", i, ".png"), from_tensor(picture));
  }
}

class Setting {
 public:
  Setting() { write_pictures(data(), 5); }

  std::filesystem::path data() const { return folder_.path() / "data"; }

  // Small enough for a test: 5 pictures in batches of 2, so 3 steps are an epoch.
  TrainOptions options(const std::string& run, const char* recipe = "official", int64_t steps = 6) const {
    TrainOptions options;
    options.recipe = make_recipe("zero_dce", recipe);
    options.recipe.batch = 2;
    options.recipe.size = 32;
    options.recipe.repeats = 1;
    options.data = data();
    options.run = folder_.path() / run;
    options.steps = steps;
    options.seed = 3;
    return options;
  }

  // The same on the GPU, which one process may be playing: single pictures of 16 pixels.
  TrainOptions on_device(const std::string& run, const char* recipe = "official", int64_t steps = 2) const {
    TrainOptions small = options(run, recipe, steps);
    small.recipe.batch = 1;
    small.recipe.size = 16;
    small.device = {Device::Type::cuda, 0};
    return small;
  }

 private:
  TemporaryFolder folder_;
};

// Sets the stop flag after some steps, and remembers what it was told.
struct Witness : TrainListener {
  explicit Witness(int64_t stop_after = -1) : stop_after(stop_after) {}
  void on_start(const Facts& facts, int64_t steps_done, int64_t all) override {
    config = facts;
    done = steps_done;
    steps = all;
  }
  void on_step(const StepRecord& record) override {
    records.push_back(record);
    if (record.step == stop_after) stop = true;
  }
  void on_notice(const std::string& text) override { notices.push_back(text); }

  int64_t stop_after;
  std::atomic<bool> stop = false;
  Facts config;
  int64_t done = -1, steps = -1;
  std::vector<StepRecord> records;
  std::vector<std::string> notices;
};

TrainResult run(TrainOptions options, Witness& witness) {
  options.stop = &witness.stop;
  return train(options, witness);
}

TrainResult run(const TrainOptions& options) {
  Witness witness;
  return run(options, witness);
}

std::string text_of(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = read_file(path).value();
  return {bytes.begin(), bytes.end()};
}

int64_t lines_of(const std::filesystem::path& path) {
  const std::string text = text_of(path);
  return std::count(text.begin(), text.end(), '\n');
}

// Weights and moments of two checkpoints are the same bits.
void check_equal(const std::string& a, const std::string& b) {
  const Checkpoint one = read_checkpoint(a).value(), other = read_checkpoint(b).value();
  const auto compare = [](const State& left, const State& right) {
    REQUIRE(left.size() == right.size());
    for (const auto& [name, tensor] : left) {
      INFO(name);
      CHECK(tensor.to_vector() == right.at(name).to_vector());
    }
  };
  compare(one.weights, other.weights);
  compare(one.optimizer, other.optimizer);
  CHECK(one.progress.step == other.progress.step);
  CHECK(one.progress.epoch == other.progress.epoch);
  CHECK(one.progress.batch == other.progress.batch);
  CHECK(one.progress.epoch_loss == other.progress.epoch_loss);
  CHECK(one.progress.best == other.progress.best);
}

}  // namespace

TEST_CASE("a run leaves configuration, logs, checkpoints, best weights and samples") {
  const Setting setting;
  const TrainOptions options = setting.options("run");
  Witness witness;
  const TrainResult result = run(options, witness);
  CHECK(result.finished);
  CHECK(result.progress.step == 6);
  CHECK(result.progress.epoch == 2);
  CHECK(witness.done == 0);
  CHECK(witness.steps == 6);
  CHECK(witness.notices.empty());
  REQUIRE(witness.records.size() == 6);
  CHECK(witness.records[2].epoch == 1);
  CHECK(witness.records[3].epoch == 2);
  CHECK(witness.records[0].losses.size() == 5);
  const std::filesystem::path folder = options.run;
  CHECK(text_of(folder / "config.toml").find("\nsize = 32\n") != std::string::npos);
  CHECK(lines_of(folder / "log.jsonl") == 6);
  CHECK(lines_of(folder / "log.csv") == 7);
  CHECK(result.checkpoint == folder / "checkpoints" / "step_00000006.safetensors");
  CHECK(std::filesystem::exists(folder / "checkpoints" / "step_00000003.safetensors"));
  CHECK(load_weights(folder / "best.safetensors").metadata.at("model") == "zero_dce");
  const Image sample = load_image(folder / "samples" / "epoch_002.png");
  CHECK(sample.width == 64);
  CHECK(sample.height == 32);
}

TEST_CASE("config.toml is TOML: no key is a value and a table, every line an assignment") {
  const Setting setting;
  Witness witness;
  (void)run(setting.options("run", "default", 1), witness);
  CHECK(witness.config.at("option.concat") == "official");
  for (const auto& [key, value] : witness.config) {
    INFO(key);
    const auto next = witness.config.upper_bound(key);
    CHECK((next == witness.config.end() || !next->first.starts_with(key + ".")));
    CHECK(key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.") == std::string::npos);
  }
}

TEST_CASE("every recipe learns: the loss of the same pictures falls") {
  const Setting setting;
  for (const char* const name : {"official", "keras", "paper", "default"}) {
    INFO(std::string(name));
    TrainOptions options = setting.options(cat("run_", name), name, 24);
    options.recipe.batch = 5;
    options.recipe.adam.lr = 1e-3;
    options.recipe.drop_last = false;
    Witness witness;
    (void)run(options, witness);
    const auto mean_loss = [&](size_t begin) {  // of six steps, for squares are drawn at random
      double sum = 0;
      for (size_t step = begin; step < begin + 6; ++step) sum += witness.records.at(step).losses[0].second;
      return sum / 6;
    };
    CHECK(mean_loss(18) < 0.98 * mean_loss(0));
  }
}

TEST_CASE("a resumed run ends with the bits of one that was never interrupted") {
  const Setting setting;
  for (const char* const recipe : {"official", "default"}) {
    for (const int64_t interruption : {2, 3}) {  // inside an epoch, and at its end
      INFO(std::string(recipe) << ", stopped after step " << interruption);
      const TrainOptions complete = setting.options(cat("whole", recipe, interruption), recipe);
      const TrainResult whole = run(complete);
      TrainOptions options = setting.options(cat("parts", recipe, interruption), recipe);
      Witness first(interruption);
      const TrainResult stopped = run(options, first);
      CHECK_FALSE(stopped.finished);
      CHECK(stopped.progress.step == interruption);
      options.resume = true;
      Witness second;
      const TrainResult resumed = run(options, second);
      CHECK(resumed.finished);
      CHECK(second.done == interruption);
      CHECK(second.records.size() == static_cast<size_t>(6 - interruption));
      check_equal(whole.checkpoint, resumed.checkpoint);
      CHECK(lines_of(std::filesystem::path(options.run) / "log.jsonl") == 6);
      CHECK(lines_of(std::filesystem::path(options.run) / "log.csv") == 7);
      const auto best = [&](const TrainOptions& of) { return text_of(of.run + "/best.safetensors"); };
      CHECK(best(complete) == best(options));
    }
  }
}

TEST_CASE("a run in bf16 says so, keeps f32, and resumes with the same bits") {
  std::vector<Device> devices{kCpu};
  if (cuda::absence().empty())
    devices.push_back({Device::Type::cuda, 0});
  else
    MESSAGE("skipped on a device: ", cuda::absence());
  for (const Device device : devices) {
    CAPTURE(device != kCpu);
    const Setting setting;
    const PrecisionScope scope(Precision::bf16);
    const auto options = [&](const char* name) {
      TrainOptions small = setting.options(name, "official", 2);
      small.recipe.batch = 1;
      small.recipe.size = 16;
      small.device = device;
      return small;
    };
    Witness whole, first(1), second;
    const TrainResult expected = run(options("whole"), whole);
    CHECK(whole.config.at("precision") == "bf16");
    TrainOptions parts = options("parts");
    CHECK_FALSE(run(parts, first).finished);
    parts.resume = true;
    const TrainResult resumed = run(parts, second);
    CHECK(resumed.finished);
    check_equal(expected.checkpoint, resumed.checkpoint);
    const Checkpoint checkpoint = read_checkpoint(resumed.checkpoint).value();
    for (const State* state : {&checkpoint.weights, &checkpoint.optimizer}) {
      for (const auto& [name, tensor] : *state) CHECK_MESSAGE(tensor.dtype() != DType::bf16, name);
    }
    set_precision(Precision::fp32);
    CHECK_THROWS_WITH_AS(run(parts, second),
                         "train: the run to be resumed has precision = bf16, got (nothing)", Error);
  }
}

TEST_CASE("where the device has no memory left for a step, the steps before it are kept") {
  if (!cuda::absence().empty()) {
    MESSAGE("skipped: ", cuda::absence());
    return;
  }
  struct Starved : Witness {
    void on_step(const StepRecord& record) override {
      Witness::on_step(record);
      if (record.step == 1) cuda::fail_allocation(80);  // behind the look for what is not finite
    }
  };
  const NoGraphs launches_only;  // a step that cannot be recorded for want of memory runs all the same
  const Setting setting;
  const TrainResult whole = run(setting.on_device("whole"));
  TrainOptions parts = setting.on_device("parts");
  Starved starved;
  CHECK_THROWS_AS(run(parts, starved), OutOfMemory);
  parts.resume = true;
  Witness second;
  const TrainResult resumed = run(parts, second);
  CHECK(second.done == 1);
  CHECK(resumed.finished);
  check_equal(whole.checkpoint, resumed.checkpoint);
}

TEST_CASE("where the device has no memory left at the end of an epoch, no step is lost") {
  if (!cuda::absence().empty()) {
    MESSAGE("skipped: ", cuda::absence());
    return;
  }
  struct Starved : Witness {
    void on_step(const StepRecord& record) override {
      Witness::on_step(record);
      cuda::fail_allocation(1);
    }
  };
  const Setting setting;
  const auto options = [&](const char* name, double validation) {
    TrainOptions small = setting.on_device(name, "default", 1);
    small.recipe.validation = validation;
    return small;
  };
  const TrainResult whole = run(options("whole", 0.2));
  TrainOptions parts = options("parts", 0.2);
  Starved starved;
  CHECK_THROWS_AS(run(parts, starved), OutOfMemory);  // what validates
  parts.resume = true;
  Witness second;
  CHECK(run(parts, second).finished);
  CHECK(second.records.empty());
  check_equal(whole.checkpoint, parts.run + "/checkpoints/" + checkpoint_name(1));

  Starved unseen;
  CHECK(run(options("unseen", 0), unseen).finished);
  REQUIRE(unseen.notices.size() == 1);
  CHECK(unseen.notices[0].starts_with("no sample of epoch 1: cuda: "));
}

TEST_CASE("a finished run can be made longer") {
  const Setting setting;
  const TrainResult whole = run(setting.options("whole"));
  (void)run(setting.options("parts", "official", 4));
  TrainOptions longer = setting.options("parts");
  longer.resume = true;
  const std::string end = run(longer).checkpoint;
  Checkpoint judged_once_more = read_checkpoint(end).value();  // after step 4
  const double best = read_checkpoint(whole.checkpoint).value().progress.best;
  CHECK(judged_once_more.progress.best <= best);
  judged_once_more.progress.best = best;
  save_checkpoint(end, judged_once_more);
  check_equal(whole.checkpoint, end);
}

TEST_CASE("the end of a run within an epoch is judged and shown as the end of the epoch") {
  const Setting setting;
  TrainOptions options = setting.options("run", "default", 1);
  options.recipe.validation = 0.2;
  options.recipe.plateau = true;
  Witness stopped(1);  // before it validates
  CHECK_FALSE(run(options, stopped).finished);
  CHECK_FALSE(std::filesystem::exists(options.run + "/best.safetensors"));
  options.resume = true;
  Witness witness;
  const TrainResult result = run(options, witness);
  CHECK(result.finished);
  CHECK(result.progress.step == 1);
  CHECK(result.progress.epoch == 0);
  CHECK(result.progress.epoch_over == 0);
  CHECK(std::isinf(result.progress.plateau_best));  // whoever makes it longer goes on as if it were not over
  REQUIRE(witness.notices.size() == 1);
  CHECK(witness.notices[0].starts_with("epoch 1: validation "));
  CHECK(load_weights(options.run + "/best.safetensors").metadata.at("progress.step") == "1");
  CHECK(std::filesystem::exists(options.run + "/samples/epoch_001.png"));
  const TrainOptions whole = setting.options("whole", "default", 1);
  (void)run(whole);
  CHECK(load_weights(whole.run + "/best.safetensors").metadata.at("progress.step") == "1");
}

TEST_CASE("a checkpoint of more steps than the run has, or of epochs without steps, is not resumed") {
  const Setting setting;
  TrainOptions options = setting.options("run", "official", 4);
  const Checkpoint whole = read_checkpoint(run(options).checkpoint).value();
  options.resume = true;
  for (const auto& [step, epoch] : {std::pair<int64_t, int64_t>{100, 1}, {4, int64_t{1} << 53}}) {
    Checkpoint hostile = whole;
    hostile.progress.step = step;
    hostile.progress.epoch = epoch;
    hostile.progress.epoch_over = 1;
    const std::string path = cat(options.run, "/checkpoints/", checkpoint_name(step));
    save_checkpoint(path, hostile);
    const std::string expected = cat("train: the run to be resumed has done ", step, " steps in ", epoch,
                                     " epochs, expected at most 4 steps, and one in each epoch");
    CHECK_THROWS_WITH_AS(run(options), expected.c_str(), Error);
    std::filesystem::remove(path);
  }
}

TEST_CASE("a run whose rate depends on its length cannot be made longer") {
  const Setting setting;
  TrainOptions options = setting.options("falling", "default", 2);
  (void)run(options);
  options.resume = true;
  options.steps = 4;
  CHECK_THROWS_WITH_AS(run(options), "train: the run to be resumed has steps = 2, got 4", Error);
}

TEST_CASE("a run is not resumed with other pictures under the same names") {
  const Setting setting;
  TrainOptions options = setting.options("run", "official", 2);
  (void)run(options);
  save_image(setting.data() / "picture_0.png", from_tensor(full({1, 40, 48, 3}, 0.25)));
  options.resume = true;
  options.steps = 4;
  CHECK_THROWS_WITH_AS(
      run(options),
      "train: the pictures are not those that the run began with: picture_0.png has other content", Error);
}

TEST_CASE("after a crash the run goes on from the newest good checkpoint, the log too") {
  const Setting setting;
  const TrainResult whole = run(setting.options("whole"));
  TrainOptions options = setting.options("run");
  const TrainResult crashed = run(options);
  std::filesystem::resize_file(crashed.checkpoint, 1000);  // torn: only that of step 3 is left
  options.resume = true;
  Witness witness;
  const TrainResult resumed = run(options, witness);
  CHECK(witness.done == 3);
  REQUIRE(witness.notices.size() == 1);
  CHECK(witness.notices[0].starts_with("passed over " + crashed.checkpoint));
  check_equal(whole.checkpoint, resumed.checkpoint);
  CHECK(lines_of(std::filesystem::path(options.run) / "log.csv") == 7);
}

TEST_CASE("twenty steps give the same bits for any number of threads and another alignment of buffers") {
  const Setting setting;
  const int before = num_threads();
  set_num_threads(1);
  const TrainResult one = run(setting.options("one", "official", 20));
  for (const int threads : {2, 3, 5}) {
    set_num_threads(threads);
    check_equal(one.checkpoint, run(setting.options(cat("threads", threads), "official", 20)).checkpoint);
  }
  set_num_threads(2);
  memory::set_test_layout({.shift = 24});
  check_equal(one.checkpoint, run(setting.options("shifted", "official", 20)).checkpoint);
  memory::set_test_layout({});
  set_num_threads(before);
}

TEST_CASE("numbers that are not finite are named, skipped three times, then the run stops") {
  const Setting setting;
  TrainOptions options = setting.options("run", "official", 20);
  options.recipe.adam.lr = 1e30;  // the first update ruins the weights
  Witness witness;
  std::string message;
  try {
    (void)run(options, witness);
  } catch (const NumericalStop& stop) {
    message = stop.what();
  }
  INFO(message);
  CHECK(message.find("a result or gradient is not finite, first in conv2d: element ") != std::string::npos);
  CHECK(message.find(", picture picture_") != std::string::npos);
  CHECK(witness.notices.size() == 4);  // three skipped steps, and where the evidence is
  const auto skipped = std::count_if(witness.records.begin(), witness.records.end(),
                                     [](const StepRecord& record) { return record.skipped; });
  CHECK(skipped == 4);
}

TEST_CASE("a disk with room for few checkpoints is said before the first step") {
  struct SmallDisk : FileOps {
    int64_t free_bytes(const char*) override { return 2'500'000; }
  };
  const Setting setting;
  SmallDisk disk;
  set_file_ops(&disk);
  Witness witness;
  const TrainOptions options = setting.options("run", "official", 1);
  (void)run(options, witness);
  set_file_ops(nullptr);
  CHECK(witness.notices ==
        std::vector<std::string>{options.run + ": the disk has room for 2 more checkpoints only"});
}

TEST_CASE("a start that fails before its first checkpoint leaves no run behind") {
  struct FullDisk : FileOps {
    int64_t free_bytes(const char*) override { return 20'000; }  // for a configuration, for no checkpoint
  };
  const Setting setting;
  const TrainOptions options = setting.options("run", "official", 1);
  FullDisk disk;
  set_file_ops(&disk);
  CHECK_THROWS_WITH_AS(run(options), doctest::Contains("its disk has 20000 left"), FileException);
  set_file_ops(nullptr);
  CHECK_FALSE(RunFolder::used(options.run));
  CHECK(run(options).finished);
}

TEST_CASE("a log that cannot be written is said once, and the training goes on") {
  struct FullLog : FileOps {
    std::atomic<int> log = -1;  // the loader opens and closes pictures meanwhile
    int open(const char* path, int flags, mode_t mode) override {
      const int descriptor = FileOps::open(path, flags, mode);
      if (std::string_view(path).ends_with("/log.jsonl")) log = descriptor;
      return descriptor;
    }
    ssize_t write(int descriptor, const void* data, size_t bytes) override {
      if (descriptor != log) return FileOps::write(descriptor, data, bytes);
      errno = ENOSPC;
      return -1;
    }
    int close(int descriptor) override {
      if (descriptor == log) log = -1;
      return FileOps::close(descriptor);
    }
  };
  const Setting setting;
  FullLog full;
  Witness witness;
  const TrainOptions options = setting.options("run", "official", 3);
  set_file_ops(&full);
  const TrainResult result = run(options, witness);
  set_file_ops(nullptr);
  CHECK(result.finished);
  CHECK(witness.notices ==
        std::vector<std::string>{options.run + ": the log cannot be written; training goes on without it"});
  CHECK(lines_of(options.run + "/log.jsonl") == 0);
  CHECK(lines_of(options.run + "/log.csv") == 4);
}

TEST_CASE("a folder that another process trained in meanwhile is not taken") {
  const Setting setting;
  const TrainOptions options = setting.options("run", "official", 1);
  struct Overtaken : Witness {
    const TrainOptions* options = nullptr;
    void on_dataset(const std::string&) override { (void)run(*options); }
  } overtaken;
  overtaken.options = &options;
  CHECK_THROWS_WITH_AS(run(options, overtaken), doctest::Contains(" holds a run; continue it with --resume"),
                       Error);
  CHECK(lines_of(options.run + "/log.jsonl") == 1);
}

TEST_CASE("what is no file at the place of the best weights is refused before the first step") {
  const Setting setting;
  const TrainOptions options = setting.options("run");
  std::filesystem::create_directories(options.run + "/best.safetensors");
  Witness witness;
  CHECK_THROWS_WITH_AS(run(options, witness),
                       doctest::Contains("best.safetensors: is a directory, expected a regular file"),
                       FileException);
  CHECK(witness.records.empty());
}

TEST_CASE("where the best weights cannot be written, no step is lost, and the epoch ends later") {
  const Setting setting;
  const TrainOptions whole = setting.options("whole"), blocked = setting.options("blocked");
  struct InTheWay : Witness {
    std::string place;
    void on_step(const StepRecord& record) override {
      Witness::on_step(record);
      if (record.step == 6) {
        std::filesystem::remove(place);
        std::filesystem::create_directory(place);
      }
    }
  } in_the_way;
  in_the_way.place = blocked.run + "/best.safetensors";
  CHECK_THROWS_AS(run(blocked, in_the_way), FileException);
  const std::string path = blocked.run + "/checkpoints/" + checkpoint_name(6);
  CHECK(read_checkpoint(path).value().progress.epoch_over == 1);
  std::filesystem::remove(in_the_way.place);
  TrainOptions resumed = blocked;
  resumed.resume = true;
  const TrainResult result = run(resumed);
  CHECK(result.finished);
  check_equal(result.checkpoint, run(whole).checkpoint);
  CHECK(text_of(blocked.run + "/best.safetensors") == text_of(whole.run + "/best.safetensors"));
}

TEST_CASE("a sample that cannot be written is said, and the training goes on") {
  const Setting setting;
  const TrainOptions options = setting.options("run");
  std::filesystem::create_directories(options.run + "/samples/epoch_001.png");
  Witness witness;
  CHECK(run(options, witness).finished);
  REQUIRE(witness.notices.size() == 1);
  CHECK(witness.notices[0].find("samples/epoch_001.png") != std::string::npos);
}

// Takes the pictures away after a step.
struct Thief : Witness {
  Thief(const TrainOptions& options, int64_t step) : data(options.data), step(step) {}
  void on_step(const StepRecord& record) override {
    Witness::on_step(record);
    if (record.step == step) std::filesystem::rename(data, data + ".away");
  }
  void give_back() const { std::filesystem::rename(data + ".away", data); }

  std::string data;
  int64_t step;
};

TEST_CASE("where a picture cannot be read any more, the steps before it are kept") {
  const Setting setting;
  write_pictures(setting.data(), 40);  // more than are read ahead of a step
  const TrainOptions whole = setting.options("whole", "official", 20),
                     robbed = setting.options("robbed", "official", 20);
  Thief thief(robbed, 3);
  CHECK_THROWS_AS(run(robbed, thief), FileException);
  thief.give_back();
  const int64_t last = thief.records.back().step;
  CHECK(last >= 3);
  CHECK(last < 20);
  CHECK(read_checkpoint(robbed.run + "/checkpoints/" + checkpoint_name(last)));
  TrainOptions resumed = robbed;
  resumed.resume = true;
  const TrainResult result = run(resumed);
  CHECK(result.finished);
  check_equal(result.checkpoint, run(whole).checkpoint);
}

TEST_CASE("a sample that cannot be read is said, and the training goes on") {
  const Setting setting;
  const TrainOptions options = setting.options("run");
  Thief thief(options, 3);  // at the end of the epoch, when the loader has all pictures
  CHECK(run(options, thief).finished);
  REQUIRE(thief.notices.size() == 2);
  CHECK(thief.notices[0].find("cannot be opened") != std::string::npos);
}

TEST_CASE("what training refuses") {
  const Setting setting;
  TrainOptions options = setting.options("run", "official", 1);
  options.resume = true;
  CHECK_THROWS_WITH_AS(run(options), (options.run + " holds no run to resume").insert(0, "train: ").c_str(),
                       Error);
  options.resume = false;
  (void)run(options);
  CHECK_THROWS_WITH_AS(
      run(options),
      ("train: " + options.run + " holds a run; continue it with --resume, or choose another folder").c_str(),
      Error);
  options.resume = true;
  options.seed = 4;
  CHECK_THROWS_WITH_AS(run(options), "train: the run to be resumed has seed = 3, got 4", Error);
  options.seed = 3;
  {
    const PrecisionScope coarse(Precision::bf16);
    CHECK_THROWS_WITH_AS(run(options), "train: the run to be resumed has precision = (nothing), got bf16",
                         Error);
  }

  const std::string broken = setting.data() / "zz_broken.png";
  (void)write_file_atomically(broken, std::vector<uint8_t>{1, 2, 3}).value();
  CHECK_THROWS_AS(run(setting.options("other")), FileException);
  CHECK_FALSE(std::filesystem::exists(setting.options("other").run));
}
