#include "luxgrad/layers/module.h"

#include <algorithm>

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

Module::Module(Module& parent, std::string name) { parent.add({std::move(name), nullptr, this}); }

void Module::add(Member member) {
  check(!member.name.empty() && member.name.find('.') == std::string::npos,
        "module: expected a name without a dot, got '", member.name, "'");
  const bool taken = std::any_of(members_.begin(), members_.end(),
                                 [&](const Member& other) { return other.name == member.name; });
  check(!taken, "module: expected a new name, got '", member.name, "' twice");
  members_.push_back(std::move(member));
}

template <class F>
void Module::visit(const std::string& prefix, const F& f) const {
  for (const Member& member : members_) {
    if (member.parameter != nullptr)
      f(prefix + member.name, *member.parameter);
    else
      member.child->visit(prefix + member.name + '.', f);
  }
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> list;
  visit("", [&](std::string name, const Tensor& tensor) { list.push_back({std::move(name), tensor}); });
  return list;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  visit("", [&](const std::string&, const Tensor& tensor) { count += tensor.numel(); });
  return count;
}

void Module::requires_grad_(bool on) {
  visit("", [&](const std::string&, Tensor& tensor) { tensor.requires_grad_(on); });
}

void Module::zero_grad() {
  visit("", [](const std::string&, const Tensor& tensor) { tensor.set_grad({}); });
}

void Module::to(DType dtype) {
  visit("", [&](const std::string&, Tensor& tensor) {
    const bool asked = tensor.requires_grad();
    tensor = tensor.to(dtype).requires_grad_().requires_grad_(asked);
  });
}

void Module::substitute(const Tensors& values) {
  const size_t count = named_parameters().size();
  check(values.size() == count, "substitute: expected ", count, " tensors, got ", values.size());
  auto value = values.begin();
  visit("", [&](const std::string& name, Tensor& tensor) {
    check(value->shape() == tensor.shape(), "substitute: expected ", tensor.shape(), " for ", name, ", got ",
          value->shape());
    tensor = *value++;
  });
}

State Module::state_dict() const {
  State state;
  visit("", [&](std::string name, const Tensor& tensor) { state.emplace(std::move(name), tensor.detach()); });
  return state;
}

void Module::load_state_dict(const State& state) {
  std::string faults;
  std::vector<std::pair<Tensor, Tensor>> copies;  // before the first write: names need memory
  visit("", [&](const std::string& name, const Tensor& parameter) {
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
  owner.add({std::move(name), this, nullptr});
}

Frozen::Frozen(Module& module) {
  for (NamedTensor& parameter : module.named_parameters()) {
    if (parameter.tensor.requires_grad()) thawed_.push_back(parameter.tensor.requires_grad_(false));
  }
}

Frozen::~Frozen() {
  for (Tensor& parameter : thawed_) parameter.requires_grad_();
}

}  // namespace lux
