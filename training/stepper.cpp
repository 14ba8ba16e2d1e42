#include "luxgrad/training/stepper.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "luxgrad/autograd/observer.h"
#include "luxgrad/tensor/raw.h"

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
      buffers_(model.state_dict()) {
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
    try {
      total = update(u, input, lr, outcome);
    } catch (...) {  // such as want of memory: who catches it finds no half update
      undo();
      throw;
    }
    if (outcome.failed >= 0) undo();
  }
  outcome.losses.insert(outcome.losses.begin(), {"total", total});
  return outcome;
}

double Stepper::update(size_t u, const StepInput& input, double lr, StepOutcome& outcome) {
  Adam& adam = optimizer_of(updates_[u]);
  adam.zero_grad();
  adam.set_lr(lr);
  const Results results;
  const Loss loss = objective_->differentiate(model_, input, u);
  outcome.grad_norm = clip_grad_norm_(adam.parameters(), clip_norm_);
  const double total = loss.total.item();
  for (const auto& [name, term] : loss.terms) outcome.losses.emplace_back(name, term.item());
  if (results.finite() && std::isfinite(total) && std::isfinite(outcome.grad_norm))
    adam.step();
  else
    outcome.failed = static_cast<int64_t>(u);
  return total;
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
