#include "luxgrad/training/optimizer.h"

#include <cmath>
#include <set>

#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

constexpr const char* kSteps = "step";  // among the moments of a saved state

constexpr int64_t kAdamFactors = 9;  // those of AdamStep, and whether it is done

// All forms in one: θ ← keep·θ − scale · m / (root·√v + ε), where the forms differ in `scale` and `root`
// only.
template <class T>
struct AdamStep {
  using A = Arith<T>;
  const T* gradient;
  T* parameter;
  T* mean;
  T* square;
  // rest = 1 − β, which float would take with too few digits
  A rest1 = 0, beta2 = 0, rest2 = 0, eps = 0, scale = 0, root = 0;
  A keep = 0, decay = 0;  // decoupled: 1 − lr·decay; coupled: added to the gradient

  LUX_HD void take(const A* factors) {
    rest1 = factors[0], beta2 = factors[1], rest2 = factors[2], eps = factors[3];
    scale = factors[4], root = factors[5], keep = factors[6], decay = factors[7];
  }

  LUX_HD void operator()(int64_t i) const {
    const A theta = parameter[i];
    const A g = A(gradient[i]) + decay * theta;
    const A m = A(mean[i]) + rest1 * (g - A(mean[i]));
    const A v = beta2 * A(square[i]) + rest2 * g * g;
    mean[i] = m;
    square[i] = v;
    parameter[i] = keep * theta - scale * m / (root * std::sqrt(v) + eps);
  }
};

template <class T>
AdamStep<T> step_of(const AdamTensors& t) {
  return {t.gradient.data<T>(), t.parameter.data<T>(), t.mean.data<T>(), t.square.data<T>()};
}

// With factors from memory, so that a step that was recorded can be repeated with others.
template <class T>
struct AdamStepFrom {
  AdamStep<T> step;
  const Arith<T>* factors;

  LUX_HD void operator()(int64_t i) const {
    if (factors[kAdamFactors - 1] == 0) return;
    AdamStep<T> now = step;
    now.take(factors);
    now(i);
  }
};

// The joint norm of tensors from their square sums: what `clip_grad_norm_` computes on the host.
struct JointNorm {
  const double* squares;
  int64_t count;
  double* norm;
  LUX_HD void operator()(int64_t) const {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double one = std::sqrt(squares[i]);
      sum += one * one;
    }
    *norm = std::sqrt(sum);
  }
};

LUX_HD inline double clip_factor(double norm, double max_norm) { return max_norm / (norm + 1e-6); }

template <class T>
struct ClipTo {
  T* target;
  const double* norm;
  double max_norm;
  LUX_HD void operator()(int64_t i) const {
    const double factor = clip_factor(*norm, max_norm);
    if (factor < 1) target[i] = Arith<T>(target[i]) * static_cast<Arith<T>>(factor);
  }
};

// Takes the gradient off a leaf, for writing: another leaf may share it.
Tensor taken_gradient(const Tensor& leaf) {
  Tensor gradient = leaf.grad();
  leaf.set_grad({});
  return gradient.storage().use_count() > 1 ? gradient.clone() : gradient;
}

}  // namespace

Adam::Adam(std::vector<NamedTensor> parameters, const AdamOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  options_.eps = options_.effective_eps();
  check(options_.lr >= 0 && options_.weight_decay >= 0,
        "adam: expected lr and weight decay of at least 0, got ", options_.lr, " and ",
        options_.weight_decay);
  check(options_.beta1 >= 0 && options_.beta1 < 1 && options_.beta2 >= 0 && options_.beta2 < 1,
        "adam: expected betas in [0, 1), got ", options_.beta1, " and ", options_.beta2);
  check(!parameters_.empty(), "adam: expected at least one parameter");
  std::set<std::string> names;
  std::set<const Storage*> storages;
  for (const auto& [name, tensor] : parameters_) {
    check(tensor.defined(), "adam: parameter ", name, " is undefined");
    check(names.insert(name).second && storages.insert(tensor.storage().get()).second, "adam: parameter ",
          name, " is given twice");
    mean_.push_back(zeros(tensor.shape(), tensor.options()));
    square_.push_back(zeros(tensor.shape(), tensor.options()));
  }
}

Tensor Adam::factors() const {
  const auto& o = options_;
  const auto now = static_cast<double>(steps_ + 1);
  const double correction1 = 1 - std::pow(o.beta1, now), root2 = std::sqrt(1 - std::pow(o.beta2, now));
  const double scale = o.form == AdamForm::torch ? o.lr / correction1 : o.lr * root2 / correction1;
  const double root = o.form == AdamForm::torch ? 1 / root2 : 1;
  const double keep = o.decoupled ? 1 - o.lr * o.weight_decay : 1;
  const double decay = o.decoupled ? 0 : o.weight_decay;
  const DType dtype = arith_dtype(parameters_.front().tensor.dtype());
  return from_vector({1 - o.beta1, o.beta2, 1 - o.beta2, o.eps, scale, root, keep, decay, 1}, {kAdamFactors},
                     {dtype, kCpu});
}

void Adam::write(const Tensor& factors) const {
  std::vector<AdamTensors> all;
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const auto& [name, tensor] = parameters_[p];
    const Tensor gradient = tensor.grad();
    if (!gradient.defined()) continue;
    check(gradient.shape() == tensor.shape() && gradient.dtype() == tensor.dtype(), "adam: parameter ", name,
          ": expected a gradient of ", tensor.dtype(), tensor.shape(), ", got ", gradient.dtype(),
          gradient.shape());
    all.push_back({gradient, tensor, mean_[p], square_[p]});
  }
  const Device device = factors.device();
  if (all.empty() || slots().adam(device, all, factors)) return;
  for (const AdamTensors& tensors : all) {
    dispatch(tensors.parameter.dtype(), [&](auto t) {
      using T = decltype(t);
      const auto* const from = factors.data<Arith<T>>();
      AdamStep<T> step = step_of<T>(tensors);
      if (device != kCpu) return parallel_for(device, tensors.parameter.numel(), AdamStepFrom<T>{step, from});
      if (from[kAdamFactors - 1] == 0) return;
      step.take(from);
      parallel_for(device, tensors.parameter.numel(), step);
    });
  }
}

void Adam::count_step() {
  ++steps_;
  for (size_t p = 0; p < parameters_.size(); ++p) {
    for (const Tensor& written : {parameters_[p].tensor, mean_[p], square_[p]})
      written.storage()->raise_version();
  }
}

void Adam::step() {
  write(factors().to(parameters_.front().tensor.device()));
  count_step();
}

void Adam::zero_grad() {
  for (const NamedTensor& parameter : parameters_) parameter.tensor.set_grad({});
}

std::map<std::string, Tensor> Adam::state_dict() const {
  std::map<std::string, Tensor> state;
  state[kSteps] = empty({}, {DType::i64, kCpu});
  state[kSteps].data<int64_t>()[0] = steps_;
  for (size_t p = 0; p < parameters_.size(); ++p) {
    state["exp_avg." + parameters_[p].name] = mean_[p];
    state["exp_avg_sq." + parameters_[p].name] = square_[p];
  }
  return state;
}

void Adam::check_state_dict(const std::map<std::string, Tensor>& state) const {
  const std::map<std::string, Tensor> own = this->state_dict();
  for (const auto& [name, tensor] : own) {
    const auto found = state.find(name);
    check(found != state.end(), "adam: the saved state has no tensor ", name);
    check(found->second.shape() == tensor.shape() && found->second.dtype() == tensor.dtype(), "adam: ", name,
          ": expected ", tensor.dtype(), tensor.shape(), ", got ", found->second.dtype(),
          found->second.shape());
    const int64_t bad = name == kSteps ? -1 : first_non_finite(found->second);
    check(bad < 0, "adam: ", name, ": element ", bad, " is not finite");
  }
  for (const auto& [name, tensor] : state) {
    check(own.contains(name), "adam: the saved state has an unknown tensor ", name);
  }
  const int64_t steps = state.at(kSteps).data<int64_t>()[0];
  check(steps >= 0, "adam: the saved state has done ", steps, " steps");
}

void Adam::load_state_dict(const std::map<std::string, Tensor>& state) {
  check_state_dict(state);
  const std::map<std::string, Tensor> own = this->state_dict();
  for (const auto& [name, tensor] : own) copy_(tensor, state.at(name));
  steps_ = own.at(kSteps).data<int64_t>()[0];
}

double clip_grad_norm_(const std::vector<NamedTensor>& parameters, double max_norm) {
  double sum = 0;
  for (const NamedTensor& parameter : parameters) {
    if (const Tensor gradient = parameter.tensor.grad(); gradient.defined()) {
      const double norm = l2_norm(gradient);
      sum += norm * norm;
    }
  }
  const double norm = std::sqrt(sum), factor = clip_factor(norm, max_norm);
  if (!(factor < 1)) return norm;
  for (const NamedTensor& parameter : parameters) {
    if (!parameter.tensor.grad().defined()) continue;
    const Tensor gradient = taken_gradient(parameter.tensor);
    scale_(gradient, factor);
    parameter.tensor.set_grad(gradient);
  }
  return norm;
}

void clip_grad_norm_(const std::vector<NamedTensor>& parameters, double max_norm, const Tensor& norm) {
  const Device device = norm.device();
  const Tensor squares = empty({static_cast<int64_t>(parameters.size())}, norm.options());
  int64_t count = 0;
  for (const NamedTensor& parameter : parameters) {
    if (const Tensor gradient = parameter.tensor.grad(); gradient.defined())
      square_sum_(squares, count++, gradient);
  }
  parallel_for(device, 1, JointNorm{squares.data<double>(), count, norm.data<double>()});
  if (!std::isfinite(max_norm)) return;
  for (const NamedTensor& parameter : parameters) {
    if (!parameter.tensor.grad().defined()) continue;
    const Tensor gradient = taken_gradient(parameter.tensor);
    dispatch(gradient.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(device, gradient.numel(), ClipTo<T>{gradient.data<T>(), norm.data<double>(), max_norm});
    });
    parameter.tensor.set_grad(gradient);
  }
}

}  // namespace lux
