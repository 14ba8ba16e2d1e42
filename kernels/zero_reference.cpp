#include "luxgrad/kernels/zero_reference.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/kernels/zero_reference_forms.h"

namespace lux {
namespace {

constexpr const char* kName = "zero_reference";  // has no row of its own: that of the loss runs it

// What else the operators of the single losses refuse, they refuse in their own words.
bool fits(const Tensor& low, const Tensor& curves, int64_t patch) {
  const Shape& s = low.shape();
  return s.rank() == 4 && s[0] >= 1 && s[3] == 3 && patch >= kRegion && patch % kRegion == 0 &&
         s[1] >= patch && s[2] >= patch && curves.shape().rank() == 4 && curves.shape().with(3, 3) == s &&
         curves.size(3) >= 1 && curves.dtype() == low.dtype() && !low.requires_grad();
}

}  // namespace

Tensor fused_zero_reference(const Tensor& low, const Tensor& curves, int iterations,
                            const ZeroReferenceOptions& options) {
  const OperatorScope scope(kName, low, curves);
  const Device device = low.device();
  if (!slots().zero_reference.filled(device) || !fits(low, curves, options.patch)) return {};
  const Shape s = low.shape();
  const TensorOptions f32{DType::f32, device};
  const ZeroReferenceKept kept{empty({s[0], s[1] / kRegion, s[2] / kRegion, 2}, f32),
                               empty({s[0], s[1] / options.patch, s[2] / options.patch}, f32),
                               empty({s[0], 3}, f32)};
  Tensor terms = empty({4}, f32);
  if (!slots().zero_reference(device, low, curves, iterations, options, terms, kept)) return {};

  return differentiable(
      kName, terms, {curves},
      [options, iterations, kept, xs = Saved(low), cs = Saved(curves)](const Tensor& g, const Need&) {
        Grads grads{empty(cs.get().shape(), cs.get().options())};
        slots().zero_reference_gradient.require(g.device(), xs.get(), cs.get(), iterations, options, g, kept,
                                                grads[0]);
        return grads;
      });
}

}  // namespace lux
