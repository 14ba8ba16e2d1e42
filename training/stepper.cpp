#include "luxgrad/training/stepper.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/step_numbers.h"

namespace lux {
namespace {

/// An infinity may be gone before the loss: a sigmoid makes 1 of it. A NaN stays; who reads one has one.
class Results final : public Observer {
 public:
  void on_forward(const char*, const Tensor& y, const Tensors&) override {
    if (finite_ && y.device() == kCpu) finite_ = all_finite(y);
  }
  void on_backward(const char*, const Grads&) override {}
  bool finite() const { return finite_; }

 private:
  bool finite_ = true;
};

std::string prefix_of(const std::string& optimizer) { return optimizer.empty() ? "" : optimizer + "/"; }

}  // namespace

Stepper::Stepper(const Recipe& recipe, Model& model)
    : objective_(recipe.objective),
      clip_norm_(recipe.clip_norm > 0 ? recipe.clip_norm : std::numeric_limits<double>::infinity()),
      model_(model),
      updates_(recipe.objective->updates()),
      buffers_(model.state_dict()),
      terms_(updates_.size()) {
  const std::vector<NamedTensor> all = model.named_parameters();
  for (const NamedTensor& parameter : all) buffers_.erase(parameter.name);
  for (const Update& update : updates_) {
    const auto known = [&](const Optimizer& optimizer) { return optimizer.name == update.optimizer; };
    if (std::any_of(optimizers_.begin(), optimizers_.end(), known)) continue;
    std::vector<NamedTensor> moved;
    for (const NamedTensor& parameter : all) {
      if (update.moves(parameter.name)) moved.push_back(parameter);
    }
    optimizers_.push_back({update.optimizer, Adam(std::move(moved), recipe.adam)});
  }
}

Adam& Stepper::optimizer_of(const Update& update) {
  for (Optimizer& optimizer : optimizers_) {
    if (optimizer.name == update.optimizer) return optimizer.adam;
  }
  fail("stepper: there is no optimizer ", update.optimizer);
}

StepOutcome Stepper::step(const StepInput& input, double lr) {
  StepOutcome outcome;
  double total = 0;
  for (size_t u = 0; u < updates_.size() && outcome.failed < 0; ++u) {
    const State before = clone(buffers_);
    const auto undo = [&] {
      for (const auto& [name, value] : before) copy_(buffers_.at(name), value);
    };
    Adam& adam = optimizer_of(updates_[u]);
    adam.zero_grad();
    adam.set_lr(lr);
    try {
      const Numbers numbers =
          model_.device() == kCpu ? update(u, input, adam) : update_on_device(u, input, adam);
      total = numbers.total;
      outcome.grad_norm = numbers.norm;
      outcome.losses.insert(outcome.losses.end(), numbers.terms.begin(), numbers.terms.end());
      outcome.known_finite = numbers.state_finite;
      if (!numbers.finite) outcome.failed = static_cast<int64_t>(u);
    } catch (...) {  // such as want of memory: who catches it finds no half update
      undo();
      throw;
    }
    if (outcome.failed >= 0) undo();
  }
  outcome.losses.insert(outcome.losses.begin(), {"total", total});
  return outcome;
}

Stepper::Numbers Stepper::update(size_t u, const StepInput& input, Adam& adam) const {
  const Results results;
  const Loss loss = objective_->differentiate(model_, input, u);
  Numbers numbers;
  numbers.norm = clip_grad_norm_(adam.parameters(), clip_norm_);
  numbers.total = loss.total.item();
  for (const auto& [name, term] : loss.terms) numbers.terms.emplace_back(name, term.item());
  numbers.finite = results.finite() && std::isfinite(numbers.total) && std::isfinite(numbers.norm);
  if (numbers.finite) adam.step();
  return numbers;
}

Tensor Stepper::run_on_device(size_t u, const StepInput& input, Adam& adam, const Tensor& factors) {
  adam.zero_grad();
  const Loss loss = objective_->differentiate(model_, input, u);
  const Tensor norm = empty({}, {DType::f64, loss.total.device()});
  clip_grad_norm_(adam.parameters(), clip_norm_, norm);
  Tensors scalars{loss.total, norm, full({}, 0, {DType::f32, norm.device()})};
  terms_[u].clear();
  for (const auto& [name, term] : loss.terms) {
    terms_[u].push_back(name);
    scalars.push_back(term);
  }
  Tensors state;
  for (const auto& [name, tensor] : model_.state_dict()) state.push_back(tensor);
  for (const auto& [name, tensor] : state_dict()) {
    if (tensor.device() != kCpu) state.push_back(tensor);  // and not the number of steps
  }
  Tensor numbers = gathered(scalars);
  adam.write(unless_not_finite(factors, numbers, 2));
  adam.zero_grad();  // of a graph they would be the graph's
  mark_not_finite_(numbers, 2, state);
  return numbers;
}

Stepper::Numbers Stepper::update_on_device(size_t u, const StepInput& input, Adam& adam) {
  const auto run = [&](const Tensors& in) -> Tensors {
    StepInput there = input;
    there.low = in[1];
    if (in.size() > 2) there.high = in[2];
    return {run_on_device(u, there, adam, in[0])};
  };
  Tensors inputs{adam.factors(), input.low}, state;
  if (input.high.defined()) inputs.push_back(input.high);
  for (const auto& [name, tensor] : model_.state_dict()) state.push_back(tensor);
  const std::string key = cat(model_.name(), " update ", u, input.statistics ? " with statistics" : "",
                              model_.recompute() ? " again " : " ", precision(),
                              plain_kernels() ? " plain" : "", input.dtype ? cat(" in ", *input.dtype) : "");
  // Chance is in the arguments of kernels: a graph would repeat it.
  const bool repeats = objective_->without_chance() == nullptr && !observed();
  if (!repeats) {
    if (!observed()) cuda::note_not_recorded("draws random numbers");
    for (Tensor& tensor : inputs) tensor = tensor.to(model_.device());
  }
  const Tensors results = repeats ? graphs_.run(key, inputs, state, run) : run(inputs);
  const std::vector<double> values = results[0].to_vector();
  Numbers numbers{
      values[0], values[1], {}, std::isfinite(values[0]) && std::isfinite(values[1]), values[2] == 0};
  for (size_t t = 0; t < terms_[u].size(); ++t) numbers.terms.emplace_back(terms_[u][t], values[3 + t]);
  if (numbers.finite) adam.count_step();
  return numbers;
}

void Stepper::zero_grad() {
  for (Optimizer& optimizer : optimizers_) optimizer.adam.zero_grad();
}

State Stepper::state_dict() const {
  State state;
  for (const Optimizer& optimizer : optimizers_) {
    for (const auto& [name, tensor] : optimizer.adam.state_dict())
      state[prefix_of(optimizer.name) + name] = tensor;
  }
  return state;
}

void Stepper::load_state_dict(const State& state) {
  std::vector<State> parts(optimizers_.size());
  for (const auto& [name, tensor] : state) {
    // clang 14 captures no structured binding as it is.
    const auto owns = [&name = name](const Optimizer& optimizer) {
      return name.starts_with(prefix_of(optimizer.name));
    };
    const auto owner = std::find_if(optimizers_.begin(), optimizers_.end(), owns);
    check(owner != optimizers_.end(), "stepper: there is no optimizer for ", name);
    parts[static_cast<size_t>(owner - optimizers_.begin())][name.substr(prefix_of(owner->name).size())] =
        tensor;
  }
  for (size_t i = 0; i < parts.size(); ++i) optimizers_[i].adam.check_state_dict(parts[i]);
  for (size_t i = 0; i < parts.size(); ++i) optimizers_[i].adam.load_state_dict(parts[i]);
}

}  // namespace lux
