// Numbers that are not finite: put into a picture, an activation, the loss, a gradient or a weight, they are
// seen in that step, named, and never saved.
#include "luxgrad/training/non_finite.h"

#include <limits>

#include "error_of.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/stepper.h"
#include "luxgrad/training/trainer.h"
#include "narrow_models.h"
#include "same_bits.h"
#include "tool_workplace.h"

using namespace lux;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

enum class Place { picture, activation, loss, gradient, weight };

/// While active, poisons the last element of one tensor whenever the network runs: the second picture of two,
/// the result of e_conv3, a term of the loss, the gradient of e_conv1.weight, or that weight.
class Poison final : public Observer {
 public:
  Poison(Place place, float value) : place_(place), value_(value) {}

  bool active = false;

  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override {
    const std::string_view op = name;
    if (op == "exposure" && place_ == Place::loss) put(y);
    if (op != "conv2d") return;
    if (inputs.at(0).size(3) == 3) forward_ = backward_ = 0;  // it reads the picture
    ++forward_;
    if (forward_ == 1 && place_ == Place::picture) put(inputs.at(0));
    if (forward_ == 1 && place_ == Place::weight) put(inputs.at(1));
    if (forward_ == 3 && place_ == Place::activation) put(y);
  }

  void on_backward(const char* name, const Grads& grads) override {
    if (std::string_view(name) == "conv2d" && ++backward_ == 7 && place_ == Place::gradient) put(grads.at(1));
  }

 private:
  void put(const Tensor& tensor) const {
    if (active) tensor.data<float>()[tensor.numel() - 1] = value_;
  }

  Place place_;
  float value_;
  int forward_ = 0, backward_ = 0;  // convolutions of this run
};

/// Poisons the steps [first, last], also when they are run again, and keeps what it is told.
class Saboteur : public TrainListener {
 public:
  Saboteur(Place place, float value, int64_t first, int64_t last)
      : poison_(place, value), first_(first), last_(last) {
    next(1);
  }
  void on_step(const StepRecord& record) override {
    records.push_back(record);
    if (!record.skipped) next(record.step + 1);
  }
  void on_notice(const std::string& text) override {
    notices.push_back(text);
    next(records.back().step + 1);
  }

  std::vector<StepRecord> records;
  std::vector<std::string> notices;

 private:
  void next(int64_t step) { poison_.active = first_ <= step && step <= last_; }

  Poison poison_;
  int64_t first_, last_;
};

/// Counts what operators give, results and gradients, and may put a value into one of them.
class Injection final : public Observer {
 public:
  int64_t count = 0;
  float value = kNan;
  int64_t at = -1;   ///< the result or list of gradients that is poisoned; -1: none
  std::string name;  ///< what was poisoned: an operator, for gradients with `grad ` before it

  void on_forward(const char* op, const Tensor& y, const Tensors&) override {
    if (count++ == at) put(op, y);
  }
  void on_backward(const char* op, const Grads& grads) override {
    const auto first = std::find_if(grads.begin(), grads.end(), [](const Tensor& g) { return g.defined(); });
    if (first != grads.end() && count++ == at) put(cat("grad ", op), *first);
  }

 private:
  void put(const std::string& op, const Tensor& tensor) {
    name = op;
    // Some, for dropout may drop one: then nothing has read it.
    std::fill_n(tensor.data<float>(), std::min<int64_t>(8, tensor.numel()), value);
  }
};

/// Eight noise pictures: four steps of two are an epoch.
class Studio : public Workplace {
 public:
  Studio() {
    fs::create_directory(path("photos"));
    for (uint64_t i = 1; i <= 8; ++i) save_noise(path(cat("photos/", i, ".png")), 40, 36, i);
  }

  TrainOptions options(const std::string& run, int64_t steps = 8) const {
    TrainOptions options;
    options.recipe = make_recipe("zero_dce", "official");
    options.recipe.batch = 2;
    options.recipe.size = 32;
    options.recipe.shuffle = false;
    options.data = path("photos");
    options.run = path(run);
    options.steps = steps;
    return options;
  }
};

bool all_finite(const State& state) {
  return std::all_of(state.begin(), state.end(),
                     [](const auto& entry) { return first_non_finite(entry.second.to(DType::f64)) < 0; });
}

/// Whatever the run left behind has finite weights.
void check_saved(const Studio& here, const std::string& run) {
  CHECK(all_finite(load_weights(here.path(run + "/best.safetensors")).state));
  for (const std::string& path : checkpoint_paths(here.path(run + "/checkpoints"))) {
    const Checkpoint checkpoint = read_checkpoint(path).value();
    CHECK(all_finite(checkpoint.weights));
    CHECK(all_finite(checkpoint.optimizer));
    CHECK(std::isfinite(checkpoint.progress.best) == (checkpoint.progress.epoch > 0));
  }
}

/// What the message says for each place.
struct Expected {
  Place place;
  const char* begins;
  const char* ends;
};
constexpr Expected kSkipped[] = {
    {Place::picture, "conv2d: element ",
     ", which read a picture that is not finite at element 6143, picture "},
    {Place::activation, "conv2d: element 65535 of the result, shape [2, 32, 32, 32], with e_conv3.weight ",
     " and e_conv3.bias, picture "},
    {Place::loss, "exposure: element 0 of the result, shape [], picture ", ""},
    {Place::gradient, "conv2d: element 863 of the gradient of input 1, shape [32, 3, 3, 3]",
     ", which is e_conv1.weight, picture "},
};

}  // namespace

TEST_CASE(
    "in every network any result, gradient, picture, weight or moving statistic that is not finite is seen") {
  const bool all = std::getenv("LUX_INJECTIONS") != nullptr;  // else about twenty
  for (const ModelMaker make : kNarrowModels) {
    const std::unique_ptr<Model> model = make();
    CAPTURE(model->name());
    model->init_(Generator(1, "init"));
    model->requires_grad_();
    const Recipe recipe = make_recipe(model->name(), "default");
    const Objective& objective = *recipe.objective;
    Stepper stepper(recipe, *model);
    Tensor low = empty({1, 16, 16, 3}), high = empty({1, 16, 16, 3});
    Generator generator(2, "pictures");
    fill_uniform_(low, 0.05, 0.3, generator);
    fill_uniform_(high, 0.3, 0.9, generator);
    // Moving statistics take no notice: they do not either when a step is watched.
    const StepInput input{low, high, 0, false};
    const State weights = clone(model->state_dict()), moments = clone(stepper.state_dict());
    const auto rewind = [&] {
      model->load_state_dict(weights);
      stepper.load_state_dict(moments);
    };

    // Where each update begins, counted in results and gradients.
    std::vector<int64_t> begins{0};
    for (size_t u = 0; u < objective.updates().size(); ++u) {
      const Injection counting;
      (void)objective.differentiate(*model, input, u);
      begins.push_back(begins.back() + counting.count);
    }
    constexpr float kValues[] = {kNan, kInf, -kInf};
    const int64_t stride = all ? 1 : begins.back() / 20;
    for (int64_t i = 0; i * stride < begins.back() * (all ? 3 : 1); ++i) {
      const int64_t at = i * stride % begins.back();
      Injection injection;
      injection.at = at;
      injection.value = kValues[all ? i / begins.back() : i % 3];
      const StepOutcome outcome = stepper.step(input, recipe.adam.lr);
      const std::string name = injection.name;
      CAPTURE(at);
      CAPTURE(name);
      CAPTURE(injection.value);
      REQUIRE(outcome.failed >= 0);
      const auto update = static_cast<size_t>(outcome.failed);
      CHECK(begins[update] <= at);
      CHECK(at < begins[update + 1]);
      injection.count = begins[update];
      const std::string found = first_not_finite(objective, update, *model, input, {"3.png"});
      const bool gradient = name.starts_with("grad ");
      CHECK(found.starts_with(cat(gradient ? name.substr(5) : name, ": element 0 of the ",
                                  gradient ? "gradient of input " : "result, shape ")));
      rewind();
    }
    MESSAGE(model->name(), ": ", begins.back(), " results and gradients");
    model->zero_grad();

    // What a step leaves behind: its input and weights, and what only a later step would read.
    Tensor dark = low.clone();
    dark.data<float>()[5] = kNan;
    CHECK(stepper.step({dark, high, 0, false}, recipe.adam.lr).failed == 0);
    CHECK(contains(first_not_finite(objective, 0, *model, {dark, high, 0, false}, {"3.png"}),
                   ", which read a picture that is not finite at element 5"));
    for (const auto& [name, tensor] : model->state_dict()) {
      tensor.data<float>()[0] = kInf;
      CHECK(ruined_state(*model, stepper.state_dict()) == cat(name, " is not finite at element 0"));
      rewind();
    }
  }
}

TEST_CASE("a poisoned step is seen, named and skipped, and the run goes on") {
  const Studio here;
  int run = 0;
  for (const Expected& expected : kSkipped) {
    for (const float value : {kNan, kInf, -kInf}) {
      CAPTURE(std::string(expected.begins));
      CAPTURE(value);
      const TrainOptions options = here.options(cat("run_", run++));
      Saboteur saboteur(expected.place, value, 6, 8);
      CHECK(train(options, saboteur).finished);
      REQUIRE(saboteur.records.size() == 8);
      for (const StepRecord& record : saboteur.records) CHECK(record.skipped == (record.step >= 6));
      REQUIRE(saboteur.notices.size() == 3);
      const std::string& notice = saboteur.notices[0];
      CAPTURE(notice);
      CHECK(
          notice.starts_with(cat("step 6: a result or gradient is not finite, first in ", expected.begins)));
      CHECK(contains(notice, expected.ends));
      const bool second = expected.place == Place::picture || expected.place == Place::activation;
      CHECK(notice.ends_with(second ? "picture 4.png; step skipped" : "picture 3.png; step skipped"));
      check_saved(here, fs::path(options.run).filename());
    }
  }
}

TEST_CASE("a run whose first step is poisoned goes on, and can be resumed") {
  const Studio here;
  Saboteur saboteur(Place::loss, kNan, 1, 1), none(Place::loss, kNan, 0, 0);
  TrainOptions options = here.options("run", 4);
  CHECK(train(options, saboteur).finished);
  check_saved(here, "run");
  options.steps = 8;
  options.resume = true;
  CHECK(train(options, none).finished);
}

TEST_CASE("a finished run has best weights, also where every step was skipped") {
  const Studio here;
  Saboteur saboteur(Place::loss, kNan, 1, 2);
  const TrainResult result = train(here.options("run", 2), saboteur);
  CHECK(result.finished);
  CHECK(std::isinf(result.progress.best));
  CHECK(load_weights(here.path("run/best.safetensors")).metadata.at("progress.step") == "2");
}

TEST_CASE("skipped steps change nothing: the weights are those of the steps before") {
  const Studio here;
  Saboteur none(Place::loss, kNan, 0, 0), saboteur(Place::loss, kNan, 6, 8);
  const TrainResult five = train(here.options("five", 5), none);
  const TrainResult skipped = train(here.options("skipped", 8), saboteur);
  const Checkpoint before = read_checkpoint(five.checkpoint).value(),
                   after = read_checkpoint(skipped.checkpoint).value();
  for (const auto& [name, weight] : before.weights)
    CHECK(weight.to_vector() == after.weights.at(name).to_vector());
  for (const auto& [name, moment] : before.optimizer)
    CHECK(moment.to_vector() == after.optimizer.at(name).to_vector());
}

TEST_CASE("the fourth poisoned step in a row stops the run") {
  const Studio here;
  for (const Expected& expected : kSkipped) {
    CAPTURE(std::string(expected.begins));
    const std::string run = cat("run_", static_cast<int>(expected.place));
    Saboteur saboteur(expected.place, kNan, 5, 8);
    CHECK_THROWS_AS(train(here.options(run), saboteur), NumericalStop);
    CHECK(saboteur.records.size() == 8);
    REQUIRE(saboteur.notices.size() == 4);
    CHECK(saboteur.notices[3] ==
          cat("what the step worked with: ", here.path(run), "/not_finite.safetensors"));
    check_saved(here, run);
  }
}

TEST_CASE("a run that stops leaves what its last step worked with, and says where, or that it cannot") {
  const Studio here;
  Saboteur saboteur(Place::weight, kNan, 6, 6);
  const std::string stopped = error_of([&] { (void)train(here.options("run"), saboteur); });
  const Weights evidence = load_weights(here.path("run/not_finite.safetensors"));
  CHECK(evidence.sealed);
  CHECK(evidence.metadata.at("what") == stopped);
  CHECK(evidence.metadata.at("model") == "zero_dce");
  CHECK(evidence.metadata.at("step") == "6");
  CHECK(evidence.metadata.at("pictures") == "3.png\n4.png\n");
  CHECK(evidence.state.at("low").shape() == Shape{2, 32, 32, 3});
  CHECK(first_non_finite(evidence.state.at("weights/e_conv1.weight")) == 863);
  CHECK(evidence.state.contains("optimizer/exp_avg_sq.e_conv1.weight"));

  TrainOptions options = here.options("full");
  class FullAtTheEnd final : public Saboteur {
   public:
    using Saboteur::Saboteur;
    std::string folder;
    void on_step(const StepRecord& record) override {
      Saboteur::on_step(record);
      if (record.step == 6) fs::create_directories(folder + "/not_finite.safetensors/in the way");
    }
  } full(Place::weight, kNan, 6, 6);
  full.folder = options.run;
  CHECK_THROWS_AS(train(options, full), NumericalStop);
  REQUIRE(full.notices.size() == 1);
  CHECK(full.notices[0].starts_with("what the step worked with is lost: "));
}

TEST_CASE("a weight that is not finite stops the run in its step, also one that a ReLU hides") {
  const Studio here;
  for (const float value : {kNan, kInf, -kInf}) {
    CAPTURE(value);
    const std::string run = cat("run_", value);
    Saboteur saboteur(Place::weight, value, 6, 6);
    std::string message;
    try {
      (void)train(here.options(run), saboteur);
    } catch (const NumericalStop& stop) {
      message = stop.what();
    }
    CAPTURE(message);
    CHECK(saboteur.records.size() == 6);
    CHECK(message.starts_with(
        "step 6: e_conv1.weight is not finite at element 863, first in conv2d: element "));
    CHECK(contains(message, ", which read e_conv1.weight that is not finite at element 863, picture "));
    CHECK(message.ends_with("; no skipped step heals it"));
    check_saved(here, run);
  }
}

TEST_CASE("a gradient whose square overflows stops the run: its weight would stand still for ever") {
  const Studio here;
  TrainOptions options = here.options("run");
  options.recipe.clip_norm = 0;
  Saboteur saboteur(Place::gradient, 1e22F, 6, 6);
  CHECK(error_of([&] { (void)train(options, saboteur); }) ==
        "step 6: exp_avg_sq.e_conv1.weight is not finite at element 863, though all is finite when the step "
        "runs again; no skipped step heals it");
  CHECK(saboteur.records.size() == 6);
  CHECK_FALSE(saboteur.records.back().skipped);
  check_saved(here, "run");
}

TEST_CASE("a checkpoint with moments that are not finite is not resumed, and stays as it is") {
  const Studio here;
  Saboteur none(Place::loss, kNan, 0, 0);
  TrainOptions options = here.options("run", 2);
  const std::string path = train(options, none).checkpoint;
  Checkpoint checkpoint = read_checkpoint(path).value();
  Tensor& moment = checkpoint.optimizer.at("exp_avg.e_conv1.weight");
  moment = full(moment.shape(), kInf);
  save_checkpoint(path, checkpoint);
  const std::string before = slurp(path);
  options.steps = 4;
  options.resume = true;
  CHECK(error_of([&] { (void)train(options, none); }) ==
        "adam: exp_avg.e_conv1.weight: element 0 is not finite");
  CHECK(slurp(path) == before);
}

TEST_CASE("an update that overflows is not saved as best at the end of its epoch") {
  const Studio here;
  TrainOptions options = here.options("run", 1);
  options.recipe.batch = 8;  // one step is an epoch
  options.recipe.adam.lr = 1e39;
  Saboteur none(Place::loss, kNan, 0, 0);
  CHECK_THROWS_AS(train(options, none), NumericalStop);
  CHECK_FALSE(fs::exists(here.path("run/best.safetensors")));
  CHECK(checkpoint_paths(here.path("run/checkpoints")).size() == 1);
}

TEST_CASE("the tool ends with its own exit code") {
  const Studio here;
  Saboteur none(Place::loss, kNan, 0, 0);
  TrainOptions options = here.options("run", 2);
  options.recipe.shuffle = true;
  const TrainResult started = train(options, none);
  Checkpoint checkpoint = read_checkpoint(started.checkpoint).value();
  for (auto& [name, weight] : checkpoint.weights) weight = full(weight.shape(), 1e30);
  save_checkpoint(started.checkpoint, checkpoint);
  std::vector<std::string> command = {"train",   "zero_dce", "--data",     "photos", "--run",
                                      "run",     "--recipe", "official",   "--size", "32",
                                      "--batch", "2",        "--progress", "none"};
  command.insert(command.end(), {"--steps", "8", "--resume"});
  const ChildResult result = here.run(command);
  CAPTURE(result.err);
  CHECK(result.code == 5);
  CHECK(contains(result.err, "; step skipped"));
  CHECK(contains(result.err, "; 3 steps before it, too"));
}
