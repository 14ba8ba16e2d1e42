#include "luxgrad/models/curve_model.h"

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/curve.h"

namespace lux {

// The curve, Zero-DCE Eq. (3): LE_n(x) = LE_{n-1}(x) + A_n(x)·LE_{n-1}(x)·(1 − LE_{n-1}(x)). The authors'
// code, and so every trained network, has the sign of A the other way round: x_n = x_{n-1} + A_n·(x_{n-1}² −
// x_{n-1}).
CurveEnhancement CurveModel::forward(const Tensor& x) const {
  Tensor a = curves(x);
  return {curve_iterations(x, a, kIterations), std::move(a)};
}

Tensor CurveModel::enhance(const Tensor& x, double strength) const {
  Tensor a = curves(x);
  if (strength != 1) a = a * strength;
  return curve_iterations(x, a, kIterations);
}

}  // namespace lux
