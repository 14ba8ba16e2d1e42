// PReLU: a rectifier with one trained slope. Layers share a slope by sharing the module.
#pragma once

#include <optional>

#include "luxgrad/kernels/prelu.h"
#include "luxgrad/layers/module.h"
#include "luxgrad/tensor/raw.h"

namespace lux {

class PRelu : public Module {
 public:
  static constexpr double kFirstSlope = 0.25;

  PRelu(Module& parent, std::string name) : Module(parent, std::move(name)), weight(*this, "weight", {1}) {
    fill_(weight, kFirstSlope);
  }
  Tensor operator()(const Tensor& x) const { return prelu(x, weight); }

  /// The slope of the leaky_relu that an operator of these operands may apply to its result in place of this
  /// layer: where nothing is recorded, because the gradient needs what stands before; on the CPU, where it
  /// can be read; and from 0 on.
  std::optional<double> as_leaky_relu(Tensors operands) const;

  Parameter weight;  ///< [1]
};

}  // namespace lux
