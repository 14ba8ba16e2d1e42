#include "luxgrad/kernels/pixel_loss.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/slots.h"

namespace lux {
namespace {

constexpr const char* kName = "pixel_loss";  // has no row of its own: those of the losses run it

}  // namespace

Tensor fused_pixel_loss(PixelLoss loss, const Tensor& x, const Tensor& y, double epsilon) {
  const OperatorScope scope(kName, x, y);
  if (!slots().pixel_loss.filled(x.device()) || x.dtype() != y.dtype()) return {};
  Tensor result = empty({}, x.options());
  if (!slots().pixel_loss(x.device(), x, y, loss, epsilon, result)) return {};
  return differentiable(kName, result, {x, y},
                        [loss, epsilon, xs = Saved(x), ys = Saved(y)](const Tensor& g, const Need& need) {
                          Grads grads(2);
                          for (const size_t i : {size_t{0}, size_t{1}}) {
                            if (need(i)) grads[i] = empty(xs.get().shape(), g.options());
                          }
                          slots().pixel_loss_gradient.require(g.device(), xs.get(), ys.get(), g, loss,
                                                              epsilon, grads[0], grads[1]);
                          return grads;
                        });
}

}  // namespace lux
