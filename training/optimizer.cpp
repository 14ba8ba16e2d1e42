#include "luxgrad/training/optimizer.h"

#include <cmath>
#include <set>

#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

constexpr const char* kSteps = "step";  // among the moments of a saved state

// All forms in one: θ ← keep·θ − scale · m / (root·√v + ε), where the forms differ in `scale` and `root`
// only.
template <class T>
struct AdamStep {
  using A = Arith<T>;
  const T* gradient;
  T* parameter;
  T* mean;
  T* square;
  A rest1, beta2, rest2, eps, scale, root;  // rest = 1 − β, which float would take with too few digits
  A keep, decay;                            // decoupled: 1 − lr·decay; coupled: added to the gradient

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

// `scalars` are the factors of AdamStep in their order. A device has them in its memory, so that a step that
// it recorded can be repeated with others.
void step_all(const std::vector<AdamTensors>& all, const std::vector<double>& scalars) {
  if (all.empty()) return;
  const Device device = all[0].parameter.device();
  if (slots().adam.filled(device) &&
      slots().adam(device, all, from_vector(scalars, {8}, {DType::f32, device})))
    return;
  for (const AdamTensors& tensors : all) {
    dispatch(tensors.parameter.dtype(), [&](auto t) {
      using T = decltype(t);
      const auto s = [&](size_t i) { return static_cast<Arith<T>>(scalars[i]); };
      parallel_for(
          tensors.parameter.device(), tensors.parameter.numel(),
          AdamStep<T>{tensors.gradient.data<T>(), tensors.parameter.data<T>(), tensors.mean.data<T>(),
                      tensors.square.data<T>(), s(0), s(1), s(2), s(3), s(4), s(5), s(6), s(7)});
    });
  }
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

void Adam::step() {
  for (const auto& [name, tensor] : parameters_) {  // before the first write
    const Tensor gradient = tensor.grad();
    if (!gradient.defined()) continue;
    check(gradient.shape() == tensor.shape() && gradient.dtype() == tensor.dtype(), "adam: parameter ", name,
          ": expected a gradient of ", tensor.dtype(), tensor.shape(), ", got ", gradient.dtype(),
          gradient.shape());
  }
  const auto& o = options_;
  const auto now = static_cast<double>(steps_ + 1);  // counted once nothing can fail any more
  const double correction1 = 1 - std::pow(o.beta1, now), root2 = std::sqrt(1 - std::pow(o.beta2, now));
  const double scale = o.form == AdamForm::torch ? o.lr / correction1 : o.lr * root2 / correction1;
  const double root = o.form == AdamForm::torch ? 1 / root2 : 1;
  const double keep = o.decoupled ? 1 - o.lr * o.weight_decay : 1;
  const double decay = o.decoupled ? 0 : o.weight_decay;
  std::vector<AdamTensors> all;
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const Tensor& tensor = parameters_[p].tensor;
    if (const Tensor gradient = tensor.grad(); gradient.defined())
      all.push_back({gradient, tensor, mean_[p], square_[p]});
  }
  const std::vector<double> scalars{1 - o.beta1, o.beta2, 1 - o.beta2, o.eps, scale, root, keep, decay};
  step_all(all, scalars);
  ++steps_;
  for (const AdamTensors& t : all) {
    for (const Tensor& written : {t.parameter, t.mean, t.square}) written.storage()->raise_version();
  }
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
  const double norm = std::sqrt(sum);
  const double factor = max_norm / (norm + 1e-6);
  if (!(factor < 1)) return norm;
  for (const NamedTensor& parameter : parameters) {
    Tensor gradient = parameter.tensor.grad();
    if (!gradient.defined()) continue;
    parameter.tensor.set_grad({});
    if (gradient.storage().use_count() > 1) gradient = gradient.clone();  // another leaf may share it
    scale_(gradient, factor);
    parameter.tensor.set_grad(std::move(gradient));
  }
  return norm;
}

}  // namespace lux
