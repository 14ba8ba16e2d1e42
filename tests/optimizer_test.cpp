// training/: optimisers and schedules against the trajectories of the reference implementations.
#include "luxgrad/training/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "golden.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/training/schedule.h"
#include "luxgrad/training/setup.h"

using namespace lux;
using nlohmann::json;

namespace {

// The numbers of a nested array, in order.
void flatten(const json& value, std::vector<double>& numbers) {
  if (value.is_number()) numbers.push_back(value.get<double>());
  if (value.is_array()) {
    for (const json& item : value) flatten(item, numbers);
  }
}

std::vector<double> numbers_of(const json& value) {
  std::vector<double> numbers;
  flatten(value, numbers);
  return numbers;
}

Tensor vector_tensor(const std::vector<double>& values, DType dtype = DType::f64) {
  return from_vector(values, {static_cast<int64_t>(values.size())}, {dtype, kCpu});
}

// Largest difference over the largest reference value.
double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  double difference = 0, largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference = std::max(difference, std::abs(got[i] - want[i]));
    largest = std::max(largest, std::abs(want[i]));
  }
  return difference / largest;
}

AdamOptions options_of(const std::string& kind, const json& o) {
  AdamOptions options{.lr = o["lr"], .beta1 = o["beta1"], .beta2 = o["beta2"]};
  options.weight_decay = o.value("weight_decay", 0.0);
  options.decoupled = kind == "pytorch_adamw";
  options.form = kind == "keras_adam" ? AdamForm::keras
                 : kind == "tf1_adam" ? AdamForm::tf1
                                      : AdamForm::torch;
  return options;  // epsilon is left to the form: the trajectories prove the defaults, too
}

NamedTensor parameter(const std::string& name, const std::vector<double>& values, DType dtype = DType::f64) {
  return {name, vector_tensor(values, dtype).requires_grad_()};
}

}  // namespace

TEST_CASE("Adam follows the published trajectories") {
  const auto file = golden_json("optimisers.json");
  if (!file) return;
  const json& golden = *file;
  int64_t compared = 0;
  for (const auto& [name, run] : golden["optimisers"].items()) {
    const std::string kind = run["kind"];
    if (kind == "pytorch_sgd") {
      MESSAGE("skipped: " << name << ", luxgrad has no SGD");
      continue;
    }
    INFO(name);
    std::vector<NamedTensor> parameters;
    for (const auto& key : golden["params"])
      parameters.push_back(parameter(key, numbers_of(golden["init"][key])));
    Adam adam(parameters, options_of(kind, run["options"]));
    for (size_t step = 0; step < golden["grads"].size(); ++step) {
      for (const auto& [key, tensor] : parameters) {
        tensor.set_grad(vector_tensor(numbers_of(golden["grads"][step][key])));
      }
      if (run["options"].contains("clip_grad_norm")) {
        const double norm = clip_grad_norm_(parameters, run["options"]["clip_grad_norm"]);
        CHECK(norm == doctest::Approx(run["grad_norm_before_clip"][step].get<double>()).epsilon(1e-12));
      }
      adam.step();
      for (const auto& [key, tensor] : parameters) {
        CHECK(relative_error(tensor.to_vector(), numbers_of(run["trajectory"][key][step])) <= 1e-9);
        ++compared;
      }
    }
  }
  CHECK(compared >= 180);
}

TEST_CASE("Adam follows the operator cases") {
  const auto golden = load_golden("ops_torch");
  if (!golden) return;
  int64_t compared = 0;
  for (const json& row : json::parse(golden->metadata("cases"))) {
    if (row["op"] != "optimizer") continue;
    const std::string name = row["name"];
    const json& o = row["options"];
    if (o["type"] == "sgd") {
      MESSAGE("skipped: " << name << ", luxgrad has no SGD");
      continue;
    }
    INFO(name);
    const auto values = [&](const char* part) { return golden->at("op." + name + "." + part).to_vector(); };
    const NamedTensor w = parameter("w", values("in"));
    Adam adam({w}, {.lr = o["lr"],
                    .beta1 = o["betas"][0],
                    .beta2 = o["betas"][1],
                    .eps = o["eps"],
                    .weight_decay = o.value("weight_decay", 0.0),
                    .decoupled = o["type"] == "adamw"});
    const std::vector<double> gradients = values("gy"), trajectory = values("out");
    const auto n = w.tensor.numel();
    for (int64_t at = 0; at < static_cast<int64_t>(gradients.size()); at += n) {
      w.tensor.set_grad(vector_tensor({gradients.begin() + at, gradients.begin() + at + n}));
      if (o.contains("clip_norm")) clip_grad_norm_({w}, o["clip_norm"]);
      adam.step();
      CHECK(relative_error(w.tensor.to_vector(), {trajectory.begin() + at, trajectory.begin() + at + n}) <=
            1e-9);
      ++compared;
    }
  }
  CHECK(compared > 0);
}

TEST_CASE("schedules give the published rates") {
  const auto file = golden_json("optimisers.json");
  if (!file) return;
  const json& golden = *file;
  const json& all = golden["schedules"];
  const auto rates = [](const Schedule& schedule, const std::vector<double>& positions) {
    std::vector<double> values;
    for (const double t : positions) values.push_back(schedule(t));
    return values;
  };
  const auto count = [](size_t n, double first) {
    std::vector<double> positions;
    for (size_t i = 0; i < n; ++i) positions.push_back(first + static_cast<double>(i));
    return positions;
  };

  const json& c = all["cosine"];
  CHECK(relative_error(rates(Schedule({{c["T"], c["lr"], c["eta_min"]}}), count(c["lr_at_step"].size(), 0)),
                       c["lr_at_step"]) <= 1e-12);

  const json& w = all["warmup_cosine"];
  Recipe warm{};
  warm.rate = {{1, w["lr"], w["eta_min"]}};
  warm.warm_up = w["warmup_epochs"];
  warm.rate_by_epoch = true;
  CHECK(relative_error(
            rates(schedule_of(warm, w["epochs"].get<int64_t>(), 1), count(w["lr_at_epoch"].size(), 1)),
            w["lr_at_epoch"]) <= 1e-12);
  MESSAGE("skipped: warmup_cosine code_lr_at_epoch, the rates of a scheduler called one time too often");

  for (const char* const name : {"mirnetv2_cyclic_small", "mirnetv2_cyclic"}) {
    const json& y = all[name];
    std::vector<Phase> phases;
    for (size_t i = 0; i < y["periods"].size(); ++i) {
      phases.push_back(
          {y["periods"][i], y["lr"].get<double>() * y["restart_weights"][i].get<double>(), y["eta_mins"][i]});
    }
    CHECK(relative_error(rates(Schedule(phases), y["steps"]), y["lr_at_step"]) <= 1e-12);
  }

  for (const char* const name : {"reduce_on_plateau", "reduce_on_plateau_default_min_delta"}) {
    const json& p = all[name];
    ReduceOnPlateau plateau({.factor = p["factor"], .patience = p["patience"], .min_delta = p["min_delta"]});
    std::vector<double> got;
    double lr = p["lr"];
    for (const double metric : p["metrics"]) got.push_back(lr = plateau(lr, metric));
    CHECK(relative_error(got, p["lr_after_epoch"]) <= 1e-12);
  }
}

TEST_CASE("a constant schedule stays, a schedule ends at its last rate") {
  CHECK(constant(1e-4)(0) == 1e-4);
  CHECK(constant(1e-4)(1e6) == 1e-4);
  CHECK(Schedule({{10, 1, 0.25}})(1000) == 0.25);
  Recipe cold{};  // over before it is warm
  cold.rate = {{1, 8, 0}};
  cold.warm_up = 4;
  CHECK(schedule_of(cold, 6, 3)(6) == 4);
  CHECK_THROWS_WITH_AS(Schedule({{0, 1, 0}}), "schedule: expected phases of positive length, got 0", Error);
}

TEST_CASE("clipping leaves small gradients, and a gradient that two leaves share is scaled once for each") {
  const NamedTensor a = parameter("a", {0, 0}), b = parameter("b", {0, 0});
  const Tensor shared = vector_tensor({3, 4});
  a.tensor.set_grad(shared);
  b.tensor.set_grad(shared);
  const double norm = std::sqrt(50.0);
  CHECK(clip_grad_norm_({a, b}, 10) == doctest::Approx(norm).epsilon(1e-15));
  CHECK(a.tensor.grad().to_vector() == std::vector<double>{3, 4});
  CHECK(clip_grad_norm_({a, b}, 1) == doctest::Approx(norm).epsilon(1e-15));
  const double factor = 1 / (norm + 1e-6);
  CHECK(a.tensor.grad().to_vector() == std::vector<double>{3 * factor, 4 * factor});
  CHECK(b.tensor.grad().to_vector() == std::vector<double>{3 * factor, 4 * factor});
  CHECK(shared.to_vector() == std::vector<double>{3, 4});
}

TEST_CASE("a step raises the version, skips parameters without gradient, and keeps the dtype") {
  const NamedTensor w = parameter("w", {1, 2, 3}, DType::f32), frozen = parameter("frozen", {1}, DType::f32);
  w.tensor.set_grad(vector_tensor({1, -1, 0}, DType::f32));
  Adam adam({w, frozen}, {.lr = 0.1});
  const uint64_t before = w.tensor.storage()->version();
  adam.step();
  CHECK(w.tensor.storage()->version() > before);
  CHECK(frozen.tensor.to_vector() == std::vector<double>{1});
  const std::vector<double> moved = w.tensor.to_vector();
  CHECK(moved[0] == doctest::Approx(0.9));
  CHECK(moved[1] == doctest::Approx(2.1));
  CHECK(moved[2] == 3);
  CHECK(adam.state_dict().at("exp_avg.w").dtype() == DType::f32);
  adam.zero_grad();
  CHECK_FALSE(w.tensor.grad().defined());
}

TEST_CASE("one step in f32 is the published step, to its last digits") {
  const std::vector<double> gradients = {1, -0.3, 2e-3, 1e3};
  const NamedTensor w = parameter("w", {0, 0, 0, 0}, DType::f32);
  w.tensor.set_grad(vector_tensor(gradients, DType::f32));
  Adam adam({w}, {.lr = 1});
  adam.step();
  std::vector<double> mean, square, moved;
  for (const double g : w.tensor.grad().to_vector()) {
    mean.push_back((1 - 0.9) * g);
    square.push_back((1 - 0.999) * g * g);
    moved.push_back(-g / (std::abs(g) + 1e-8));  // both corrections cancel
  }
  const auto near = [](const Tensor& got, const std::vector<double>& want) {
    for (size_t i = 0; i < want.size(); ++i)
      CHECK(got.to_vector()[i] == doctest::Approx(want[i]).epsilon(1e-6).scale(0));
  };
  near(adam.state_dict().at("exp_avg.w"), mean);
  near(adam.state_dict().at("exp_avg_sq.w"), square);
  near(w.tensor, moved);
}

TEST_CASE("a step that throws has changed nothing") {
  const NamedTensor a = parameter("a", {1, 2}), b = parameter("b", {3, 4});
  Adam adam({a, b}, {});
  a.tensor.set_grad(vector_tensor({1, 1}));
  b.tensor.set_grad(vector_tensor({1, 1}, DType::f32));
  CHECK_THROWS_WITH_AS(adam.step(), "adam: parameter b: expected a gradient of f64[2], got f32[2]", Error);
  CHECK(a.tensor.to_vector() == std::vector<double>{1, 2});
  CHECK(adam.state_dict().at("exp_avg.a").to_vector() == std::vector<double>{0, 0});
  CHECK(adam.steps() == 0);
}

TEST_CASE("a restored optimiser continues with the same bits") {
  const auto gradient = [](int step) {
    return vector_tensor({std::sin(step), std::cos(3 * step), 1e-3 * step}, DType::f32);
  };
  const AdamOptions options{.lr = 0.01, .weight_decay = 0.1, .form = AdamForm::keras};
  const NamedTensor w = parameter("w", {1, 2, 3}, DType::f32);
  Adam whole({w}, options);
  NamedTensor copy;
  std::map<std::string, Tensor> saved;
  for (int step = 0; step < 6; ++step) {
    if (step == 3) {
      copy = {"w", w.tensor.clone().requires_grad_()};
      for (const auto& [name, tensor] : whole.state_dict()) saved[name] = tensor.clone();
    }
    w.tensor.set_grad(gradient(step));
    whole.step();
  }
  Adam resumed({copy}, options);
  resumed.load_state_dict(saved);
  CHECK(resumed.steps() == 3);
  for (int step = 3; step < 6; ++step) {
    copy.tensor.set_grad(gradient(step));
    resumed.step();
  }
  CHECK(copy.tensor.to_vector() == w.tensor.to_vector());
}

TEST_CASE("a long step gives the same bits for any number of threads") {
  std::vector<std::vector<double>> results;
  const int threads = num_threads();
  for (const int count : {1, 2, 3, 5}) {
    set_num_threads(count);
    std::vector<double> values(100003);
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i));
    const NamedTensor w = parameter("w", values, DType::f32);
    Adam adam({w}, {.lr = 0.01});
    for (int step = 0; step < 3; ++step) {
      w.tensor.set_grad(w.tensor.clone());
      clip_grad_norm_({w}, 0.1);
      adam.step();
    }
    results.push_back(w.tensor.to_vector());
  }
  set_num_threads(threads);
  for (const auto& result : results) CHECK(result == results[0]);
}

TEST_CASE("what the optimiser refuses") {
  const NamedTensor w = parameter("w", {1, 2});
  CHECK_THROWS_WITH_AS(Adam({}, {}), "adam: expected at least one parameter", Error);
  CHECK_THROWS_WITH_AS(Adam({w, w}, {}), "adam: parameter w is given twice", Error);
  CHECK_THROWS_WITH_AS(Adam({w, {"v", w.tensor}}, {}), "adam: parameter v is given twice", Error);
  CHECK_THROWS_WITH_AS(Adam({{"w", Tensor()}}, {}), "adam: parameter w is undefined", Error);
  CHECK_THROWS_WITH_AS(Adam({w}, {.beta1 = 1}), "adam: expected betas in [0, 1), got 1 and 0.999", Error);
  Adam adam({w}, {});
  CHECK_THROWS_WITH_AS(adam.load_state_dict({}), "adam: the saved state has no tensor exp_avg.w", Error);
  auto state = adam.state_dict();
  state["exp_avg.w"] = zeros({3}, {DType::f64, kCpu});
  CHECK_THROWS_WITH_AS(adam.load_state_dict(state), "adam: exp_avg.w: expected f64[2], got f64[3]", Error);
  state = adam.state_dict();
  state["extra"] = zeros({1});
  CHECK_THROWS_WITH_AS(adam.load_state_dict(state), "adam: the saved state has an unknown tensor extra",
                       Error);
  for (const double value : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    state = adam.state_dict();
    state["exp_avg_sq.w"] = from_vector({1, value}, {2}, {DType::f64, kCpu});
    CHECK_THROWS_WITH_AS(adam.load_state_dict(state), "adam: exp_avg_sq.w: element 1 is not finite", Error);
  }
  state = adam.state_dict();
  state["step"] = empty({}, {DType::i64, kCpu});
  state["step"].data<int64_t>()[0] = -1;
  CHECK_THROWS_WITH_AS(adam.load_state_dict(state), "adam: the saved state has done -1 steps", Error);
  CHECK(adam.steps() == 0);
}
