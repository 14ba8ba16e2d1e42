#include "luxgrad/layers/init.h"

#include <cmath>

#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

// Terms in the sum behind one output: weight [out, kH, kW, in/groups] or [out, in].
double fan_in(const Tensor& weight) {
  return static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
}

double fan_out(const Tensor& weight) {
  return static_cast<double>(weight.numel()) / static_cast<double>(weight.size(-1));
}

// Calls on_weight(tensor, stream) and on_bias(tensor, its layer's weight, stream) for every parameter.
template <class OnWeight, class OnBias>
void each_parameter(Module& module, const Generator& generator, OnWeight on_weight, OnBias on_bias) {
  const State state = module.state_dict();
  for (const auto& [name, tensor] : module.named_parameters()) {
    Generator stream = generator.fork(fnv1a(name));
    const std::string layer = name.substr(0, name.rfind('.') + 1), role = name.substr(layer.size());
    const auto weight = state.find(layer + "weight");
    if (weight != state.end() && weight->second.shape().rank() < 2) continue;
    if (role == "weight")
      on_weight(tensor, stream);
    else if (role == "bias" && weight != state.end())
      on_bias(tensor, weight->second, stream);
    else
      fail("init: expected parameters named weight or bias, got ", name);
  }
}

void fan_in_uniform(const Tensor& target, const Tensor& weight, Generator& stream) {
  const double bound = 1 / std::sqrt(fan_in(weight));
  fill_uniform_(target, -bound, bound, stream);
}

void no_bias(const Tensor& target, const Tensor&, Generator&) { fill_(target, 0); }

}  // namespace

void init_fan_in_uniform_(Module& module, const Generator& generator) {
  each_parameter(
      module, generator,
      [](const Tensor& weight, Generator& stream) { fan_in_uniform(weight, weight, stream); },
      fan_in_uniform);
}

void init_normal_(Module& module, double deviation, const Generator& generator, FirstBias bias) {
  each_parameter(
      module, generator,
      [=](const Tensor& weight, Generator& stream) { fill_normal_(weight, 0, deviation, stream); },
      bias == FirstBias::zero ? no_bias : fan_in_uniform);
}

void init_glorot_uniform_(Module& module, const Generator& generator) {
  each_parameter(
      module, generator,
      [](const Tensor& weight, Generator& stream) {
        const double bound = std::sqrt(6 / (fan_in(weight) + fan_out(weight)));
        fill_uniform_(weight, -bound, bound, stream);
      },
      no_bias);
}

}  // namespace lux
