#include "golden_proof.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/optimizer.h"

namespace lux {
namespace {

double largest_of(const Tensor& tensor) {
  double largest = 0;
  for (const double value : tensor.to_vector()) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

GoldenProof::GoldenProof(const Golden& golden, DType dtype, Tolerance tolerance)
    : golden_(golden), dtype_(dtype), tolerance_(dtype == DType::f64 ? tolerance.f64 : tolerance.f32) {
  for (const json& name : golden.config.value("zero_gradient_params", json::array()))
    zero_gradient_.insert(name.get<std::string>());
  for (const std::string& name : golden.after("input.")) {
    const Tensor tensor = golden.at("input." + name).to(dtype).to(golden_device()).clone();
    inputs_[name] = golden.has("grad.input." + name) ? Tensor(tensor).requires_grad_() : tensor;
    compared_.insert("input." + name);
  }
}

State GoldenProof::formula_state(const Module& module) const {
  State state;
  for (const auto& [name, tensor] : module.state_dict())
    state[name] = golden_.parameter(name, tensor.shape());
  return state;
}

void GoldenProof::compare(const std::string& name, const Tensor& actual, double absolute) {
  compared_.insert(name);
  const std::string text =
      difference(name, actual.to(DType::f64), golden_.at(name).to(DType::f64), tolerance_, absolute);
  CHECK_MESSAGE(text.empty(), text);
}

void GoldenProof::compare(const std::string& name, double actual, double absolute) {
  compare(name, full({}, actual, {DType::f64, kCpu}), absolute);
}

void GoldenProof::compare_exactly(const std::string& name, const Tensor& actual) {
  if (!golden_.has(name)) return;
  if (exact()) compare(name, actual);
  compared_.insert(name);
}

double GoldenProof::absolute_for(const std::string& parameter) const {
  // In f32 gradients a million times smaller than the largest are rounding.
  const double noise = exact() ? 0 : 1e-6 * largest_gradient_;
  return std::max(zero_gradient_.count(parameter) == 1 ? 1e-10 : 0.0, noise);
}

void GoldenProof::run() {
  {
    const NoGrad no_grad;
    for (const auto& [name, tensor] : outputs()) {
      if (golden_.has("output." + name)) compare("output." + name, tensor);
    }
  }
  if (golden_.has("loss.total")) gradients();
  more();
  if (golden_.has("train.loss")) train();
  for (const auto& [name, reference] : golden_.file.tensors) {
    // Norms of inner maps help to find where a network departs; outputs and gradients prove it.
    if (name.starts_with("tap_norm")) continue;
    CHECK_MESSAGE(compared_.count(name) == 1, golden_.name << ": nothing was compared with " << name);
  }
}

void GoldenProof::gradients() {
  const Named all = losses();
  for (const std::string& name : golden_.after("loss.")) compare("loss." + name, all.at(name));
  backward(all.at("total"));
  for (const std::string& name : golden_.after("grad.input."))
    compare_gradient("grad.input." + name, input(name).grad(), 0, "grad.input." + name);
  for (const auto& [name, parameter] : network().named_parameters()) {
    if (parameter.grad().defined())
      largest_gradient_ = std::max(largest_gradient_, l2_norm(parameter.grad()));
  }
  for (const auto& [name, parameter] : network().named_parameters()) {
    const std::string in_file = golden_.name_in_file(name);
    if (!golden_.has("grad_norm." + in_file)) continue;  // a part that this file does not look at
    const Tensor norm = full({}, l2_norm(parameter.grad()), {DType::f64, kCpu});
    compare_gradient("grad_norm." + in_file, norm, absolute_for(in_file), name);
    compare_gradient("grad_sample." + in_file, golden_sample(parameter.grad()), absolute_for(in_file), name);
  }
  network().zero_grad();
}

void GoldenProof::compare_gradient(const std::string& name, const Tensor& actual, double absolute,
                                   const std::string& noise_name) {
  constexpr double kTimes = 4;
  const auto misses = [&] {
    return !difference(name, actual.to(DType::f64), golden_.at(name).to(DType::f64), tolerance_, absolute)
                .empty();
  };
  if (!exact() && noise_of_ && misses()) {
    if (noise_.empty()) noise_ = noise_of_();
    absolute = std::max(absolute, kTimes * largest_of(noise_.at(noise_name)));
    MESSAGE(golden_.name << " " << name << " is compared with an absolute tolerance of " << absolute);
  }
  compare(name, actual, absolute);
}

GoldenProof::Named GoldenProof::gradients_now() {
  network().zero_grad();
  for (auto& [name, tensor] : inputs_) {
    if (golden_.has("grad.input." + name)) tensor = tensor.detach().clone().requires_grad_();
  }
  backward(losses().at("total"));
  Named gradients;
  for (const std::string& name : golden_.after("grad.input."))
    gradients["grad.input." + name] = input(name).grad();
  for (const auto& [name, parameter] : network().named_parameters()) {
    if (parameter.grad().defined()) gradients[name] = parameter.grad();
  }
  network().zero_grad();
  return gradients;
}

GoldenProof::Named GoldenProof::gradient_noise() {
  REQUIRE(exact());
  constexpr int kDraws = 4;
  const Named inputs = inputs_, still = gradients_now();
  const State state = formula_state(network());
  Generator generator(1, "rounding");
  const auto shaken = [&](const Tensor& tensor) {
    std::vector<double> values = tensor.to_vector();
    for (double& value : values) value *= 1 + std::ldexp(generator.uniform(-1, 1), -20);
    return from_vector(values, tensor.shape(), {DType::f64, tensor.device()});
  };
  Named noise;
  for (int draw = 0; draw < kDraws; ++draw) {
    State moved;
    for (const auto& [name, tensor] : state) moved[name] = shaken(tensor);
    network().load_state_dict(moved);
    for (const auto& [name, tensor] : inputs) inputs_[name] = shaken(tensor);
    for (const auto& [name, gradient] : gradients_now()) {
      const Tensor difference = gradient - still.at(name);
      Tensor& largest = noise[name];
      if (!largest.defined() || l2_norm(difference) > l2_norm(largest)) largest = difference;
    }
  }
  return noise;
}

void GoldenProof::train() {
  const json& o = golden_.config.at("optimizer");
  REQUIRE(o.at("type") == "adam");
  AdamOptions options{.lr = o.at("lr"),
                      .beta1 = o.at("betas")[0],
                      .beta2 = o.at("betas")[1],
                      .eps = o.at("eps"),
                      .weight_decay = o.at("weight_decay")};
  options.form = o.at("form") == "keras" ? AdamForm::keras
                 : o.at("form") == "tf1" ? AdamForm::tf1
                                         : AdamForm::torch;
  Adam adam(network().named_parameters(), options);
  for (auto& [name, tensor] : inputs_) tensor = tensor.detach();
  std::vector<double> totals, norms, terms;
  for (int step = 0; step < golden_.config.at("steps"); ++step) {
    adam.zero_grad();
    const Named all = losses();
    backward(all.at("total"));
    totals.push_back(all.at("total").item());
    for (const json& term : golden_.config.at("loss").at("terms")) terms.push_back(all.at(term).item());
    const double no_limit = 1e300;
    const json clip = o.value("clip_norm", json());
    norms.push_back(
        clip_grad_norm_(network().named_parameters(), clip.is_null() ? no_limit : clip.get<double>()));
    adam.step();
  }
  const auto column = [](const std::vector<double>& values, const Shape& shape) {
    return from_vector(values, shape, {DType::f64, kCpu});
  };
  const auto steps = static_cast<int64_t>(totals.size());
  compare("train.loss", column(totals, {steps}));
  if (golden_.has("train.loss_after")) compare("train.loss_after", losses().at("total").item());
  if (golden_.has("train.terms"))
    compare_exactly("train.terms", column(terms, golden_.at("train.terms").shape()));
  compare_exactly("train.grad_norm", column(norms, {steps}));
  for (const auto& [name, parameter] : network().named_parameters()) {
    const std::string in_file = golden_.name_in_file(name);
    compare("train.weight_norm." + in_file, l2_norm(parameter));
    compare_exactly("train.weight_sample." + in_file, golden_sample(parameter));
  }
}

}  // namespace lux
