// training/: checkpoints that are what was written or are refused, the newest good one; run folders; SHA-256.
#include "luxgrad/training/checkpoint.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "child_process.h"
#include "file_ops_fakes.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/training/run_folder.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

Checkpoint example(int64_t step) {
  Checkpoint checkpoint;
  checkpoint.model = {{"model", "zero_dce"}, {"model.concat", "official"}};
  checkpoint.weights = {{"e_conv1.weight", full({2, 3}, 0.5)}, {"e_conv1.bias", full({2}, -1e-40)}};
  checkpoint.optimizer = {{"step", full({}, static_cast<double>(step), {DType::i64, kCpu})},
                          {"exp_avg.e_conv1.bias", full({2}, 0.1)}};
  checkpoint.config = {{"seed", "7"}, {"data", "photos \"2024\""}};
  checkpoint.progress = {.step = step,
                         .epoch = 3,
                         .batch = 2,
                         .skipped = 1,
                         .epoch_loss = 0.1,
                         .epoch_steps = 2,
                         .best = 1.0 / 3,
                         .jsonl_bytes = 1000,
                         .csv_bytes = 500};
  return checkpoint;
}

std::string text_of(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = read_file(path).value();
  return {bytes.begin(), bytes.end()};
}

StepRecord record(int64_t step) {
  return {.epoch = 1,
          .step = step,
          .lr = 1e-4,
          .losses = {{"total", 0.5}, {"tv", 0.125}},
          .grad_norm = 2,
          .data_seconds = 0.25,
          .step_seconds = 1.5,
          .skipped = step == 2};
}

std::string message_of(const Result<Checkpoint>& result) {
  return result ? "no error" : result.error().reason;
}

}  // namespace

TEST_CASE("sha256 gives the published digests") {
  CHECK(sha256({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256(bytes_of("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::vector<uint8_t>(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  std::vector<uint8_t> bytes;
  for (int length = 0; length < 300; ++length) {
    CHECK(sha256(bytes) == sha256_plainly(bytes));
    bytes.push_back(static_cast<uint8_t>(length * 151 >> 3));
  }
  for (size_t piece = 1; piece < 200; ++piece) {
    Sha256 sum;
    for (size_t at = 0; at < bytes.size(); at += piece)
      sum.add(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    CHECK(sum.digest() == sha256(bytes));
  }
}

TEST_CASE("a checkpoint reads back exactly") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / checkpoint_name(1234);
  CHECK(path.ends_with("step_00001234.safetensors"));
  const Checkpoint saved = example(1234);
  save_checkpoint(path, saved);
  const Checkpoint read = read_checkpoint(path).value();
  CHECK(read.model == saved.model);
  CHECK(read.config == saved.config);
  CHECK(read.weights.size() == 2);
  CHECK(read.weights.at("e_conv1.bias").to_vector() == saved.weights.at("e_conv1.bias").to_vector());
  CHECK(read.optimizer.size() == 2);
  CHECK(read.optimizer.at("step").dtype() == DType::i64);
  CHECK(read.progress.step == 1234);
  CHECK(read.progress.epoch == 3);
  CHECK(read.progress.batch == 2);
  CHECK(read.progress.skipped == 1);
  CHECK(read.progress.epoch_loss == 0.1);
  CHECK(read.progress.epoch_steps == 2);
  CHECK(read.progress.best == 1.0 / 3);
  CHECK(read.progress.jsonl_bytes == 1000);
  CHECK(read.progress.csv_bytes == 500);
  CHECK(read.convolution_plans.empty());
}

TEST_CASE("a checkpoint names the plans that a GPU ran") {
  Checkpoint saved = example(1);
  const std::vector<uint8_t> without = serialize_checkpoint(saved);
  saved.convolution_plans = "0123456789abcdef";
  const std::vector<uint8_t> with = serialize_checkpoint(saved);
  CHECK(parse_checkpoint(with).value().convolution_plans == "0123456789abcdef");
  CHECK(with != without);
}

TEST_CASE("before the first epoch the best loss is infinite, also when read back") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / checkpoint_name(0);
  Checkpoint checkpoint = example(0);
  checkpoint.progress = {};
  save_checkpoint(path, checkpoint);
  CHECK(read_checkpoint(path).value().progress.best == std::numeric_limits<double>::infinity());
}

TEST_CASE("none of ten thousand flipped bits and no cut goes unnoticed") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / checkpoint_name(1);
  save_checkpoint(path, example(1));
  std::vector<uint8_t> bytes = read_file(path).value();
  Generator generator(20, "flipped bits");
  int64_t accepted = 0;
  for (int i = 0; i < 10000; ++i) {
    const uint64_t bit = generator.below(8 * bytes.size());
    const auto flip = [&] { bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8)); };
    flip();
    accepted += static_cast<bool>(parse_checkpoint(bytes));
    flip();
  }
  for (size_t length = 0; length < bytes.size(); ++length) {
    accepted += static_cast<bool>(parse_checkpoint({bytes.data(), length}));
  }
  CHECK(accepted == 0);
  CHECK(parse_checkpoint(bytes));
}

TEST_CASE("the newest checkpoint that verifies is found, and the damaged ones are named") {
  const TemporaryFolder folder;
  std::vector<FileError> damaged;
  CHECK_FALSE(latest_checkpoint(folder.path(), damaged).has_value());
  for (const int64_t step : {2, 10, 123456789})
    save_checkpoint(folder.path() / checkpoint_name(step), example(step));
  std::filesystem::copy(folder.path() / checkpoint_name(2), folder.path() / "step_99.backup.safetensors");
  auto found = latest_checkpoint(folder.path(), damaged);
  REQUIRE(found.has_value());
  CHECK(found->checkpoint.progress.step == 123456789);
  CHECK(damaged.empty());

  std::filesystem::resize_file(folder.path() / checkpoint_name(123456789), 100);
  found = latest_checkpoint(folder.path(), damaged);
  REQUIRE(found.has_value());
  CHECK(found->checkpoint.progress.step == 10);
  REQUIRE(damaged.size() == 1);
  CHECK(damaged[0].file.ends_with(checkpoint_name(123456789)));
}

TEST_CASE("what is refused, and why") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "file.safetensors";
  CHECK(read_checkpoint(path).error().code == FileErrorCode::missing);

  save_safetensors(path, {{{"w", zeros({2})}}, {{"model", "zero_dce"}}});
  CHECK(message_of(read_checkpoint(path)) == "it is no checkpoint: its metadata have no schema");

  save_checkpoint(path, example(1));
  TensorFile file = load_safetensors(path);
  file.metadata["config.seed"] = "8";
  save_safetensors(path, file);
  CHECK(message_of(read_checkpoint(path)) == "its content is not what was written (checksum)");

  file.metadata["schema"] = "4";
  save_safetensors(path, file);
  CHECK(message_of(read_checkpoint(path)) == "it is a checkpoint of schema \"4\", this program reads 3");
}

TEST_CASE("counters that no run reaches are refused, whatever the checksum says") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "file.safetensors";
  save_checkpoint(path, example(1));
  const TensorFile whole = load_safetensors(path);
  for (const auto& [counter, value] : {std::pair{"step", "-1"},
                                       {"batch", "-3"},
                                       {"epoch", "9223372036854775808"},
                                       {"epoch", "9223372036854775807"},
                                       {"step", "9007199254740993"},
                                       {"csv_bytes", "9007199254740993"},
                                       {"epoch_over", "2"},
                                       {"rate", "-1"},
                                       {"rate", "1.5"},
                                       {"rate", "inf"},
                                       {"first_loss", "-inf"},
                                       {"epoch_loss", "inf"},
                                       {"skipped", "1.5"},
                                       {"epoch_loss", "nan"},
                                       {"best", "-nan"},
                                       {"best", ""}}) {
    TensorFile file = whole;
    file.metadata.erase("sha256");
    file.metadata[cat("progress.", counter)] = value;
    file.metadata["sha256"] = sha256(serialize_safetensors(file));
    save_safetensors(path, file);
    CHECK(message_of(read_checkpoint(path)) == cat("its counter ", counter, " is \"", value, "\""));
  }
}

TEST_CASE("a checkpoint whose name says another step is passed over") {
  const TemporaryFolder folder;
  const std::string older = folder.path() / checkpoint_name(3), copy = folder.path() / checkpoint_name(99);
  Checkpoint checkpoint = example(5);
  checkpoint.progress.step = 3;
  save_checkpoint(older, checkpoint);
  std::filesystem::copy(older, copy);
  std::vector<FileError> damaged;
  CHECK(latest_checkpoint(folder.path(), damaged)->path == older);
  REQUIRE(damaged.size() == 1);
  CHECK(damaged[0].message() == copy + ": its name says step 99, it holds step 3");
}

TEST_CASE("weights load from a weight file and from a checkpoint alike") {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = example(5);
  save_checkpoint(folder.path() / "a", checkpoint);
  save_safetensors(folder.path() / "b", {checkpoint.weights, checkpoint.model});
  for (const char* const name : {"a", "b"}) {
    const Weights weights = load_weights(folder.path() / name);
    CHECK(weights.metadata == checkpoint.model);
    CHECK(weights.state.size() == 2);
  }
}

TEST_CASE("a run folder keeps the configuration, and logs that readers can parse") {
  const TemporaryFolder folder;
  RunFolder run(folder.path() / "runs" / "first");
  CHECK_FALSE(RunFolder::used(run.path()));
  run.write_config({{"seed", "7"}, {"data", "C:\\\"x\""}, {"shuffle", "true"}});
  CHECK(RunFolder::used(run.path()));
  const std::filesystem::path path = run.path();
  CHECK(text_of(path / "config.toml") ==
        "# The effective configuration of this run.\ndata = \"C:\\\\\\\"x\\\"\"\nseed = 7\nshuffle = true\n");

  for (const int64_t step : {1, 2}) CHECK(run.log(record(step)));
  const std::string line =
      "{\"epoch\":1,\"step\":1,\"lr\":1e-04,\"total\":0.5,\"tv\":0.125,\"grad_norm\":2,"
      "\"data_seconds\":0.25,\"step_seconds\":1.5}\n";
  CHECK(text_of(path / "log.jsonl").starts_with(line));
  const std::string head =
      "epoch,step,lr,total,tv,grad_norm,data_seconds,step_seconds,skipped\n"
      "1,1,1e-04,0.5,0.125,2,0.25,1.5,0\n";
  CHECK(text_of(path / "log.csv") == head + "1,2,1e-04,0.5,0.125,2,0.25,1.5,1\n");

  // Back to the first step, as after an interruption behind the last checkpoint.
  const Progress first{.jsonl_bytes = static_cast<int64_t>(line.size()),
                       .csv_bytes = static_cast<int64_t>(head.size())};
  CHECK(run.rewind_logs(first).empty());
  CHECK(text_of(path / "log.jsonl") == line);
  CHECK(run.log(record(3)));
  CHECK(text_of(path / "log.csv") == head + "1,3,1e-04,0.5,0.125,2,0.25,1.5,0\n");
}

TEST_CASE("a run folder keeps the newest checkpoints, the best weights, and samples") {
  const TemporaryFolder folder;
  const RunFolder run(folder.path());
  for (int64_t step = 1; step <= 5; ++step) (void)run.save(example(step));
  std::vector<FileError> damaged;
  CHECK(run.latest(damaged)->checkpoint.progress.step == 5);
  const auto checkpoints = folder.path() / "checkpoints";
  CHECK(std::filesystem::exists(checkpoints / checkpoint_name(4)));
  CHECK_FALSE(std::filesystem::exists(checkpoints / checkpoint_name(3)));

  run.save_best(example(4).weights, {{"model", "zero_dce"}});
  CHECK(load_weights(folder.path() / "best.safetensors").state.size() == 2);

  run.save_sample(12, {full({1, 4, 6, 3}, 0.2), full({1, 4, 6, 3}, 1)});
  const Image sample = load_image(folder.path() / "samples" / "epoch_012.png");
  CHECK(sample.width == 12);
  CHECK(sample.height == 4);
  CHECK(sample.row(0)[17] == 51);
  CHECK(sample.row(0)[18] == 255);
}

TEST_CASE("no flipped bit of best weights goes unnoticed, that of the checksum's name included") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "best.safetensors";
  save_weights(path, example(4).weights, {{"model", "zero_dce"}, {"trained.loss", "0.5"}});
  std::vector<uint8_t> bytes = read_file(path).value();
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    spill(path, {bytes.begin(), bytes.end()});
    CAPTURE(bit);
    CHECK_THROWS_AS(load_weights(path), FileException);
    bytes[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
  }
}

TEST_CASE("weights of others load without a checksum, whatever other digests they have") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "w.safetensors";
  const Facts others{{"digest", sha256({})}, {"sha512", "7"}, {"model", "zero_dce"}, {"sha256_of_data", ""}};
  save_safetensors(path, {example(1).weights, others});
  CHECK_FALSE(load_weights(path).sealed);
}

TEST_CASE("best weights carry a checksum") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "best.safetensors";
  save_weights(path, example(4).weights, {{"model", "zero_dce"}});
  CHECK(load_weights(path).metadata.at("model") == "zero_dce");
  std::vector<uint8_t> bytes = read_file(path).value();
  bytes.back() ^= 1;
  REQUIRE(write_file_atomically(path, bytes));
  CHECK_THROWS_WITH_AS(load_weights(path),
                       (path + ": its content is not what was written (checksum)").c_str(), FileException);
}

TEST_CASE("two good checkpoints stay, whatever became of the others") {
  const TemporaryFolder folder;
  const RunFolder run(folder.path());
  const auto checkpoints = folder.path() / "checkpoints";
  for (const int64_t step : {1, 2}) (void)run.save(example(step));
  std::filesystem::resize_file(checkpoints / checkpoint_name(2), 100);
  (void)run.save(example(3));
  CHECK(read_checkpoint(checkpoints / checkpoint_name(3)));
  CHECK(read_checkpoint(checkpoints / checkpoint_name(1)));
  (void)run.save(example(4));
  CHECK_FALSE(std::filesystem::exists(checkpoints / checkpoint_name(1)));
  CHECK_FALSE(std::filesystem::exists(checkpoints / checkpoint_name(2)));
}

TEST_CASE("a checkpoint that the disk changes while it is written is no success") {
  struct LyingDisk : FileOps {
    ssize_t write(int descriptor, const void* data, size_t bytes) override {
      std::vector<uint8_t> changed(static_cast<const uint8_t*>(data),
                                   static_cast<const uint8_t*>(data) + bytes);
      changed.back() ^= 1;
      return FileOps::write(descriptor, changed.data(), bytes);
    }
  };
  const TemporaryFolder folder;
  const RunFolder run(folder.path());
  LyingDisk disk;
  const OpsScope scope(disk);
  const std::string path = folder.path() / "checkpoints" / checkpoint_name(1);
  const std::string message =
      path + ": does not read back as it was written: its content is not what was written (checksum)";
  CHECK_THROWS_WITH_AS(run.save(example(1)), message.c_str(), FileException);
}

TEST_CASE("a run folder belongs to one process, and is cleared of half-written files") {
  const TemporaryFolder folder;
  const std::string path = folder.path();
  const std::string stale = path + "/checkpoints/.step_00000001.safetensors.tmp.77.0";
  {
    const RunFolder first(path);
    REQUIRE(write_file_atomically(stale, bytes_of("half")));
    REQUIRE(write_file_atomically(path + "/checkpoints/.notes.tmp.txt", bytes_of("a person's")));
    CHECK_THROWS_WITH_AS(RunFolder{path}, (path + ": another process works in it").c_str(), FileException);
    CHECK(std::filesystem::exists(stale));
  }
  const RunFolder second(path);
  CHECK_FALSE(std::filesystem::exists(stale));
  CHECK(std::filesystem::exists(path + "/checkpoints/.notes.tmp.txt"));
}

TEST_CASE("a run folder that cannot be made is refused by name") {
  const TemporaryFolder folder;
  (void)write_file_atomically(folder.path() / "file", bytes_of("x")).value();
  const std::string path = folder.path() / "file";
  CHECK_THROWS_WITH_AS(RunFolder{path}, (path + "/checkpoints: cannot be made: Not a directory").c_str(),
                       FileException);
}
