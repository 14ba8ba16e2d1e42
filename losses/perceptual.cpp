#include "luxgrad/losses/perceptual.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/losses/pixel.h"

namespace lux {

Tensor perceptual_loss(const Tensor& x, const Tensor& y, FunctionRef<Tensor(const Tensor&)> features) {
  check(x.shape() == y.shape(), "perceptual_loss: expected two equal shapes, got ", x.shape(), " and ",
        y.shape());
  Tensor wanted;
  {
    const NoGrad constant;
    wanted = features(y);
  }
  return mse_loss(features(x), wanted);
}

}  // namespace lux
