#include "luxgrad/kernels/hsv_distance.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/slots.h"

namespace lux {
namespace {

constexpr const char* kName = "hsv_distance";  // has no row of its own: that of the loss runs it

}  // namespace

Tensor fused_hsv_distance(const Tensor& x, const Tensor& y) {
  const OperatorScope scope(kName, x, y);
  const Device device = x.device();
  const Shape& s = x.shape();
  if (!slots().hsv_distance.filled(device) || s.rank() != 4 || s[3] != 3 || s.numel() == 0 ||
      y.shape() != s || x.dtype() != y.dtype())
    return {};
  Tensor distances = empty({2}, x.options());
  const Tensor sums = empty({s[0], 6}, {DType::f32, device});
  if (!slots().hsv_distance(device, x, y, distances, sums)) return {};
  return differentiable(
      kName, distances, {x, y}, [sums, xs = Saved(x), ys = Saved(y)](const Tensor& g, const Need& need) {
        Grads grads(2);
        for (const size_t i : {size_t{0}, size_t{1}}) {
          if (need(i)) grads[i] = empty(xs.get().shape(), g.options());
        }
        slots().hsv_distance_gradient.require(g.device(), xs.get(), ys.get(), g, sums, grads[0], grads[1]);
        return grads;
      });
}

}  // namespace lux
