#include "luxgrad/kernels/zero_reference.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/kernels/zero_reference_forms.h"

namespace lux {
namespace {

constexpr const char* kName = "zero_reference";  // has no row of its own: that of the loss runs it

// What else the operators of the single losses refuse, they refuse in their own words.
bool fits(const Tensor& enhanced, const Tensor& low, const Tensor& curves, int64_t patch) {
  const Shape& s = enhanced.shape();
  return s.rank() == 4 && s[0] >= 1 && s[3] == 3 && patch >= kRegion && patch % kRegion == 0 &&
         s[1] >= patch && s[2] >= patch && low.shape() == s && curves.shape().rank() == 4 &&
         curves.shape().with(3, 3) == s && curves.size(3) >= 1 && low.dtype() == enhanced.dtype() &&
         curves.dtype() == enhanced.dtype() && !low.requires_grad();
}

}  // namespace

Tensor fused_zero_reference(const Tensor& enhanced, const Tensor& low, const Tensor& curves,
                            const ZeroReferenceOptions& options) {
  const OperatorScope scope(kName, enhanced, low, curves);
  const Device device = enhanced.device();
  if (!slots().zero_reference.filled(device) || !fits(enhanced, low, curves, options.patch)) return {};
  const Shape s = enhanced.shape();
  const TensorOptions f32{DType::f32, device};
  const ZeroReferenceKept kept{empty({s[0], s[1] / kRegion, s[2] / kRegion, 2}, f32),
                               empty({s[0], s[1] / options.patch, s[2] / options.patch}, f32),
                               empty({s[0], 3}, f32)};
  Tensor terms = empty({4}, enhanced.options());
  if (!slots().zero_reference(device, enhanced, low, curves, options, terms, kept)) return {};

  return differentiable(
      kName, terms, {enhanced, curves},
      [options, kept, xs = Saved(enhanced), cs = Saved(curves)](const Tensor& g, const Need& need) {
        Grads grads(2);
        if (need(0)) grads[0] = empty(xs.get().shape(), g.options());
        if (need(1)) grads[1] = empty(cs.get().shape(), g.options());
        slots().zero_reference_gradient.require(g.device(), xs.get(), cs.get(), options, g, kept, grads[0],
                                                grads[1]);
        return grads;
      });
}

}  // namespace lux
