// BatchNorm2d: batch normalisation with its scale, shift and moving statistics.
#pragma once

#include "luxgrad/kernels/batch_norm.h"
#include "luxgrad/layers/module.h"

namespace lux {

/// Which statistics normalise, and whether those of the batch enter the moving ones: once, also where a pass
/// is computed again for its gradients.
struct BatchNormMode {
  enum Statistics { batch, running };
  Statistics statistics = batch;
  bool update = false;
};

class BatchNorm2d : public Module {
 public:
  /// Keras' defaults. The moving variance is an average of biased ones, as in Keras 3.
  BatchNorm2d(Module& parent, std::string name, int64_t channels, double eps = 1e-3, double decay = 0.99);

  /// x [N, H, W, C] -> the same shape.
  Tensor operator()(const Tensor& x, const BatchNormMode& mode) const;

  Parameter weight, bias;            ///< [C]
  Buffer running_mean, running_var;  ///< [C]

 private:
  double eps_, decay_;
};

}  // namespace lux
