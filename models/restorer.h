// What the networks have in common that draw the enhanced picture themselves.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

class Restorer : public Model {
 public:
  /// x [N, H, W, 3] in [0, 1], H and W multiples of `size_multiple` -> the same shape, as the losses see it.
  virtual Tensor forward(const Tensor& x) const = 0;

  /// `forward`, kept within [0, 1]; a strength below 1 stays on the straight line between the two pictures.
  Tensor enhance(const Tensor& x, double strength) const final;
};

}  // namespace lux
