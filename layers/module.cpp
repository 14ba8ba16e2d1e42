#include "luxgrad/layers/module.h"

#include <algorithm>
#include <optional>
#include <type_traits>

#include "luxgrad/kernels/cast.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

bool is_floating(DType dtype) { return dtype != DType::u8 && dtype != DType::i64; }

// Why `value` cannot become the parameter, or empty.
std::string misfit(const Tensor& parameter, const Tensor& value) {
  if (!is_floating(value.dtype())) return cat("expected a floating dtype, got ", value.dtype());
  if (value.shape() != parameter.shape()) return cat("expected ", parameter.shape(), ", got ", value.shape());
  const int64_t bad = first_non_finite(value);
  return bad < 0 ? "" : cat("element ", bad, " is not finite");
}

}  // namespace

State clone(const State& state) {
  State copies;
  for (const auto& [name, tensor] : state) copies[name] = tensor.clone();
  return copies;
}

Module::Module(Module& parent, std::string name) { parent.add({.name = std::move(name), .child = this}); }

void Module::add(Member member) {
  check(!member.name.empty(), "module: expected a name, got none");
  const bool taken = std::any_of(members_.begin(), members_.end(),
                                 [&](const Member& other) { return other.name == member.name; });
  check(!taken, "module: expected a new name, got '", member.name, "' twice");
  members_.push_back(std::move(member));
}

// Calls f(name, tensor), or f(tensor): names are made for those who take them.
template <class F>
void Module::visit(Which which, const std::string& prefix, const F& f) const {
  constexpr bool kNamed = std::is_invocable_v<const F&, std::string, Tensor&>;
  for (const Member& member : members_) {
    if (member.child != nullptr) {
      member.child->visit(which, kNamed ? prefix + member.name + '.' : prefix, f);
      continue;
    }
    if (member.parameter == nullptr && which == Which::parameters) continue;
    Tensor& tensor = member.parameter != nullptr ? *member.parameter : *member.buffer;
    if constexpr (kNamed)
      f(prefix + member.name, tensor);
    else
      f(tensor);
  }
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> list;
  visit(Which::parameters, "", [&](std::string name, const Tensor& tensor) {
    list.push_back({std::move(name), tensor});
  });
  return list;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  visit(Which::parameters, "", [&](const Tensor& tensor) { count += tensor.numel(); });
  return count;
}

void Module::requires_grad_(bool on) {
  visit(Which::parameters, "", [&](Tensor& tensor) { tensor.requires_grad_(on); });
}

void Module::zero_grad() {
  visit(Which::parameters, "", [](const Tensor& tensor) { tensor.set_grad({}); });
}

template <class To>
void Module::convert(To to) {
  visit(Which::all, "", [&](Tensor& tensor) {
    const bool asked = tensor.requires_grad();
    tensor = tensor.to(to).requires_grad_().requires_grad_(asked);
  });
}

void Module::to(DType dtype) { convert(dtype); }
void Module::to(Device device) { convert(device); }

Device Module::device() const {
  std::optional<Device> first;
  visit(Which::all, "", [&](const Tensor& tensor) {
    if (!first) first = tensor.device();
  });
  return first.value_or(kCpu);
}

DType Module::dtype() const {
  std::optional<DType> first;
  visit(Which::all, "", [&](const Tensor& tensor) {
    if (!first) first = tensor.dtype();
  });
  return first.value_or(DType::f32);
}

void Module::substitute(const Tensors& values) {
  const size_t count = named_parameters().size();
  check(values.size() == count, "substitute: expected ", count, " tensors, got ", values.size());
  auto value = values.begin();
  visit(Which::parameters, "", [&](const std::string& name, Tensor& tensor) {
    check(value->shape() == tensor.shape(), "substitute: expected ", tensor.shape(), " for ", name, ", got ",
          value->shape());
    tensor = *value++;
  });
}

State Module::state_dict() const {
  State state;
  visit(Which::all, "",
        [&](std::string name, const Tensor& tensor) { state.emplace(std::move(name), tensor.detach()); });
  return state;
}

void Module::load_state_dict(const State& state) {
  std::string faults;
  std::vector<std::pair<Tensor, Tensor>> copies;  // before the first write: names need memory
  visit(Which::all, "", [&](const std::string& name, const Tensor& parameter) {
    const auto value = state.find(name);
    if (value == state.end()) {
      faults += cat("\n  ", name, ": missing, expected ", parameter.shape());
      return;
    }
    copies.emplace_back(parameter, value->second);
    if (const std::string why = misfit(parameter, value->second); !why.empty())
      faults += cat("\n  ", name, ": ", why);
  });
  if (copies.size() < state.size()) {
    State known = this->state_dict();
    for (const auto& [name, value] : state) {
      if (known.count(name) == 0) faults += cat("\n  ", printable(name), ": unexpected, got ", value.shape());
    }
  }
  if (!faults.empty()) throw StateMismatch("load_state_dict: the weights do not fit the network:" + faults);
  for (const auto& [parameter, value] : copies) copy_(parameter, value);
}

Parameter::Parameter(Module& owner, std::string name, const Shape& shape, bool present) {
  if (!present) return;
  static_cast<Tensor&>(*this) = zeros(shape);
  requires_grad_();
  owner.add({.name = std::move(name), .parameter = this});
}

Buffer::Buffer(Module& owner, std::string name, const Shape& shape, double value) {
  static_cast<Tensor&>(*this) = full(shape, value);
  owner.add({.name = std::move(name), .buffer = this});
}

Cast::Cast(Module& module, DType dtype) {
  module.visit(Module::Which::parameters, "", [&](Tensor& parameter) {
    if (parameter.dtype() != dtype) replaced_.push_back({&parameter, parameter});
  });
  std::vector<Tensor> values;
  values.reserve(replaced_.size());
  for (const Replaced& one : replaced_) values.push_back(cast(one.master, dtype));
  for (size_t i = 0; i < values.size(); ++i) *replaced_[i].place = values[i];  // none, or all
}

Cast::~Cast() {
  for (const Replaced& one : replaced_) *one.place = one.master;
}

Frozen::Frozen(Module& module, FunctionRef<bool(std::string_view)> which) {
  for (NamedTensor& parameter : module.named_parameters()) {
    if (parameter.tensor.requires_grad() && which(parameter.name))
      thawed_.push_back(parameter.tensor.requires_grad_(false));
  }
}

Frozen::~Frozen() {
  for (Tensor& parameter : thawed_) parameter.requires_grad_();
}

}  // namespace lux
