// Linear: the fully connected layer with its weight and bias.
#pragma once

#include "luxgrad/kernels/linear.h"
#include "luxgrad/layers/module.h"

namespace lux {

class Linear : public Module {
 public:
  Linear(Module& parent, std::string name, int64_t in_features, int64_t out_features)
      : Module(parent, std::move(name)),
        weight(*this, "weight", {out_features, in_features}),
        bias(*this, "bias", {out_features}) {}

  /// x [N, in] -> [N, out].
  Tensor operator()(const Tensor& x) const { return linear(x, weight, bias); }

  Parameter weight;  ///< [out, in]
  Parameter bias;    ///< [out]
};

}  // namespace lux
