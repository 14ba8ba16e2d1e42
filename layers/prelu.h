// PReLU: a rectifier with one trained slope. Layers share a slope by sharing the module.
#pragma once

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

  Parameter weight;  ///< [1]
};

}  // namespace lux
