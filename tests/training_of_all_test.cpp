// training/: what the larger recipes ask of the trainer: adversaries, validation, a rate that reacts,
// pictures that grow. Every run is interrupted once, and must end with the bits of one that was not.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/vgg16.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/perceptual.h"
#include "luxgrad/training/stepper.h"
#include "luxgrad/training/trainer.h"
#include "same_bits.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

// Pairs of 40 x 40 pixels, the dark ones a tenth as bright.
class Pairs {
 public:
  explicit Pairs(int64_t count) {
    for (const char* part : {"low", "high"})
      std::filesystem::create_directories(folder_.path() / "data" / part);
    for (int64_t i = 0; i < count; ++i) {
      Tensor bright = empty({1, 40, 40, 3});
      Generator generator(static_cast<uint64_t>(i), "training_of_all_test");
      fill_uniform_(bright, 0.2, 0.9, generator);
      Tensor dark = bright.clone();
      for (int64_t k = 0; k < dark.numel(); ++k) dark.data<float>()[k] *= 0.1f;
      save_image(folder_.path() / "data" / "high" / cat(i, ".png"), from_tensor(bright));
      save_image(folder_.path() / "data" / "low" / cat(i, ".png"), from_tensor(dark));
    }
  }

  TrainOptions options(const std::string& model, const std::string& run, int64_t steps) const {
    TrainOptions options;
    options.model = model;
    options.recipe = make_recipe(model, "default");
    options.recipe.batch = 2;
    options.recipe.size = 16;
    options.data = folder_.path() / "data";
    options.run = folder_.path() / run;
    options.steps = steps;
    options.seed = 5;
    return options;
  }

 private:
  TemporaryFolder folder_;  // on a disk: a checkpoint of the adversaries has 280 MB
};

struct Witness : TrainListener {
  explicit Witness(int64_t stop_after = -1) : stop_after(stop_after) {}
  void on_step(const StepRecord& record) override {
    records.push_back(record);
    if (record.step == stop_after) stop = true;
  }
  void on_notice(const std::string& text) override { last_notice = text; }
  int64_t stop_after;
  std::atomic<bool> stop = false;
  std::vector<StepRecord> records;
  std::string last_notice;
};

Checkpoint end_of(TrainOptions options, int64_t stop_after = -1) {
  Witness witness(stop_after);
  options.stop = &witness.stop;
  const TrainResult result = train(options, witness);
  return read_checkpoint(result.checkpoint).value();
}

std::string log_of(const TrainOptions& options) {
  const std::vector<uint8_t> bytes = read_file(options.run + "/log.jsonl").value();
  return {bytes.begin(), bytes.end()};
}

void check_same_state(const State& one, const State& other) {
  REQUIRE(one.size() == other.size());
  for (const auto& [name, tensor] : one) CHECK_MESSAGE(same_bits(tensor, other.at(name)), name);
}

// Once through, and stopped and resumed, there perhaps with activations that are computed again.
Checkpoint check_resumes(const Pairs& pairs, const std::string& model, int64_t steps, int64_t stop_after,
                         const auto& change, bool recompute = false) {
  TrainOptions whole = pairs.options(model, "whole", steps), parts = pairs.options(model, "parts", steps);
  change(whole.recipe);
  change(parts.recipe);
  const Checkpoint expected = end_of(whole);
  CHECK(end_of(parts, stop_after).progress.step == stop_after);
  parts.resume = true;
  parts.recompute = recompute;
  const Checkpoint got = end_of(parts);
  check_same_state(got.weights, expected.weights);
  check_same_state(got.optimizer, expected.optimizer);
  CHECK(got.progress.best == expected.progress.best);
  CHECK(got.progress.rate == expected.progress.rate);
  CHECK(got.progress.epoch == expected.progress.epoch);
  return expected;
}

}  // namespace

TEST_CASE(
    "adversaries resume with the same bits: two optimisers, moving statistics, dropout, blocks run again") {
  const Pairs pairs(4);
  const Checkpoint end = check_resumes(
      pairs, "gan", 2, 1, [](Recipe&) {}, true);
  CHECK(end.optimizer.contains("generator/exp_avg.generator.enc1.conv.weight"));
  CHECK(end.optimizer.contains("discriminator/exp_avg.discriminator.conv1.weight"));
  CHECK_FALSE(end.optimizer.contains("generator/exp_avg.discriminator.bn2.weight"));
  CHECK(end.optimizer.at("discriminator/step").data<int64_t>()[0] == 4);
  CHECK(end.optimizer.at("generator/step").data<int64_t>()[0] == 2);
  const auto mean = end.weights.at("generator.enc1.bn.running_mean").to_vector();
  CHECK(std::any_of(mean.begin(), mean.end(), [](double value) { return value != 0; }));
}

TEST_CASE("an update of the adversaries that is not finite changes nothing, statistics included") {
  Gan gan;
  gan.init_(Generator(1));
  gan.requires_grad_();
  const Recipe recipe = make_recipe("gan", "default");
  Stepper stepper(recipe, gan);
  const Tensor low = full({1, 16, 16, 3}, 0.1);
  Tensor high = full({1, 16, 16, 3}, 0.7);
  high.data<float>()[40] = std::numeric_limits<float>::quiet_NaN();
  State before;
  for (const auto& [name, tensor] : gan.state_dict()) before[name] = tensor.clone();
  const StepOutcome outcome = stepper.step({low, high}, 1e-4);
  CHECK(outcome.failed == 0);
  check_same_state(gan.state_dict(), before);
  CHECK(stepper.state_dict().at("discriminator/step").data<int64_t>()[0] == 0);
}

TEST_CASE("a discriminator that is certain is no reason to leave a step out") {
  Gan gan;
  gan.init_(Generator(1));
  gan.requires_grad_();
  fill_(gan.discriminator.conv_out.bias, 1000);
  Stepper stepper(make_recipe("gan", "default"), gan);
  const StepOutcome outcome = stepper.step({full({1, 16, 16, 3}, 0.1), full({1, 16, 16, 3}, 0.7)}, 1e-4);
  CHECK(outcome.failed == -1);
}

TEST_CASE("a run may go on with activations that are computed again, and ends with the same bits") {
  check_resumes(
      Pairs(4), "reference_guided", 2, 1, [](Recipe&) {}, true);
}

TEST_CASE("pictures that validate choose the best weights, are logged, and lower the rate") {
  const Pairs pairs(6);
  const auto change = [](Recipe& recipe) {
    recipe.validation = 0.5;
    recipe.plateau = true;
    recipe.adam.lr = 1e-12;  // nothing changes, so the rate must
    recipe.squares = true;
  };
  const Checkpoint end = check_resumes(pairs, "unet", 16, 8, change);  // told to stop before it validates
  CHECK(end.progress.epoch == 8);
  CHECK(end.progress.rate == 0.5);
  CHECK(end.progress.best < 0);
  TrainOptions options = pairs.options("unet", "whole", 16);
  const std::string log = log_of(options);
  CHECK(log.find("{\"epoch\":8,\"validation_psnr\":") != std::string::npos);
  TrainOptions parts = pairs.options("unet", "parts", 16);
  const std::string epoch = "{\"epoch\":4,\"validation_psnr\":", parted = log_of(parts);
  CHECK(parted.find(epoch) != std::string::npos);
  CHECK(parted.find(epoch) == parted.rfind(epoch));
  change(parts.recipe);
  parts.run += " stopped";
  const Checkpoint stopped = end_of(parts, 8);
  CHECK(stopped.progress.epoch_over == 1);
  CHECK(stopped.progress.epoch == 3);
  const Facts best = load_weights(options.run + "/best.safetensors").metadata;
  CHECK(best.at("config.validation") == "0.5");
}

TEST_CASE("a run ends when pictures that validate have looked no better for long enough") {
  const Pairs pairs(6);
  const auto change = [](Recipe& recipe) {
    recipe.validation = 0.5;
    recipe.patience = 2;
    recipe.adam.lr = 1e-12;  // nothing changes but bits that no PSNR shows
    recipe.squares = true;
  };
  CHECK(make_recipe("mirnet_keras", "soumik12345").patience == 10);
  TrainOptions options = pairs.options("unet", "early", 40);
  change(options.recipe);
  Witness witness;
  options.stop = &witness.stop;
  const TrainResult result = train(options, witness);
  CHECK(result.finished);
  CHECK(result.progress.step < 40);
  CHECK(result.progress.plateau_waited == 2);
  CHECK(result.progress.batch == 0);
  options.resume = true;  // there is nothing left to do
  CHECK(train(options, witness).progress.step == result.progress.step);
}

TEST_CASE("pictures grow while batches shrink, each stage from a new epoch on") {
  const Pairs pairs(5);
  const auto change = [](Recipe& recipe) {
    recipe.squares = true;
    recipe.validation = 0;
    recipe.stages = {{4, 2, 16}, {4, 1, 32}};
  };
  // 3 batches an epoch: one epoch and one step; then 5 batches an epoch.
  const Checkpoint end = check_resumes(pairs, "unet", 8, 5, change);
  CHECK(end.progress.epoch == 2);
  CHECK(end.progress.batch == 4);
  const Image first = load_image(pairs.options("unet", "whole", 8).run + "/samples/epoch_001.png");
  CHECK(first.height == 16);

  // A stage that ends with pictures still to validate: what shows the epoch is of its size.
  const auto validated = [&](Recipe& recipe) {
    change(recipe);
    recipe.validation = 0.2;
  };
  const Pairs others(5);
  CHECK(check_resumes(others, "unet", 8, 4, validated).progress.epoch == 3);
  CHECK(load_image(others.options("unet", "parts", 8).run + "/samples/epoch_002.png").height == 16);
}

TEST_CASE("a network that shall learn squares by heart sees nothing else, and does") {
  const Pairs pairs(6);
  TrainOptions options = pairs.options("unet", "by heart", 100);
  options.recipe = overfitting(make_recipe("unet", "default"), 2);
  options.recipe.size = 16;
  Witness witness;
  options.stop = &witness.stop;
  train(options, witness);
  REQUIRE(witness.records.size() == 100);
  CHECK(witness.records.back().epoch == 100);
  const auto loss = [&](size_t step) { return witness.records[step].losses.front().second; };
  MESSAGE("loss " << loss(0) << " -> " << loss(99));
  CHECK(loss(99) < 0.3 * loss(0));

  // In two parts it says the same.
  options.run += " again";
  (void)end_of(options, 40);
  options.resume = true;
  Witness resumed;
  train(options, resumed);
  CHECK(resumed.last_notice == witness.last_notice);
}

TEST_CASE("pictures that are asked for by name train, and some of them validate") {
  const Pairs pairs(6);
  TrainOptions options = pairs.options("unet", "by name", 4);
  const std::string names = options.run + ".txt";
  const std::string text = "1\n3\n4.png\n5\n";
  (void)write_file_atomically(names, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}).value();
  options.recipe.squares = true;
  options.recipe.batch = 1;
  options.names = names;
  options.validation = 1;
  const Checkpoint end = end_of(options);
  CHECK(end.config.at("pictures") == "4");
  CHECK(end.config.at("validation") == "1 by name");
  CHECK(end.progress.epoch == 1);
  CHECK(end.progress.batch == 1);  // three pictures an epoch
  CHECK(log_of(options).find("validation_psnr") != std::string::npos);
  options = pairs.options("zero_dce", "alone", 4);
  options.recipe = make_recipe("zero_dce", "official");
  options.recipe.size = 32;
  options.validation = 0.5;
  options.data += "/low";
  CHECK_THROWS_WITH_AS(end_of(options), "train: pictures that validate need references", Error);
  options = pairs.options("unet", "none left", 4);
  options.validation = 6;
  CHECK_THROWS_WITH_AS(end_of(options), doctest::Contains("none is left to learn from"), FileException);
}

TEST_CASE("pictures that do not fill a batch are refused where smaller batches are left out") {
  const Pairs pairs(3);
  TrainOptions options = pairs.options("gan", "few", 1);
  options.recipe.drop_last = true;
  options.recipe.batch = 4;
  CHECK_THROWS_WITH_AS(end_of(options), doctest::Contains("gives 3 of the 4 pictures of a batch"),
                       FileException);
  options.recipe.drop_last = false;
  CHECK(end_of(options).progress.step == 1);
}

TEST_CASE("a run with a perceptual term resumes with the same weights of it, and with no others") {
  const Pairs pairs(4);
  const std::string file = pairs.options("unet", "vgg16.safetensors", 1).run;
  const auto write_trunk = [&](uint64_t seed) {
    Vgg16 trunk;
    init_fan_in_uniform_(trunk, Generator(seed));
    save_safetensors(file, {trunk.state_dict(), {}});
  };
  write_trunk(1);
  const auto change = [&](Recipe& recipe) { recipe = with_perceptual(recipe, {file, 0.5}); };
  const Checkpoint end = check_resumes(pairs, "unet", 4, 3, change);
  CHECK(end.config.at("weight.perceptual") == "0.5");
  const std::string log = log_of(pairs.options("unet", "whole", 4));
  CHECK(log.find("\"perceptual\":") != std::string::npos);

  TrainOptions other = pairs.options("unet", "whole", 6);
  other.resume = true;
  CHECK_THROWS_WITH_AS(
      end_of(other),
      doctest::Contains("the run to be resumed has loss.perceptual = vgg16 relu3_3, got (nothing)"), Error);
  write_trunk(2);
  change(other.recipe);
  CHECK_THROWS_WITH_AS(end_of(other),
                       doctest::Contains("the run to be resumed has loss.perceptual_sha256 = "), Error);
}
