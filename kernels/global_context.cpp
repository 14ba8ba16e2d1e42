// With w the softmax: y = Σ w·x, gx = w·gy, and the gradient of a logit is w·(gy·x - gy·y).
#include "luxgrad/kernels/global_context.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/softmax.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct WeightedMean {
  const T *x, *w;
  T* y;
  int64_t C;
  LUX_HD Arith<T> term(int64_t pixel, int64_t c) const {
    return Arith<T>(x[pixel * C + c]) * Arith<T>(w[pixel]);
  }
  LUX_HD void finish(int64_t n, int64_t c, double sum) const { y[n * C + c] = T(static_cast<Arith<T>>(sum)); }
};

// One team per pixel.
template <class T>
struct Gradient {
  const T *x, *w, *y, *gy;
  T *gx, *glogits;  // null where nobody wants them
  int64_t C, pixels;
  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    const T* const from = x + pixel * C;
    const T *const of_context = gy + pixel / pixels * C, *const context = y + pixel / pixels * C;
    const A weight = w[pixel];
    if (gx != nullptr) team.each(C, [&](int64_t c) { gx[pixel * C + c] = T(weight * A(of_context[c])); });
    if (glogits == nullptr) return;
    const double sum =
        team.sum(C, [&](int64_t c) { return A(of_context[c]) * (A(from[c]) - A(context[c])); });
    team.each(1, [&](int64_t) { glogits[pixel] = T(weight * static_cast<A>(sum)); });
  }
};

}  // namespace

Tensor global_context(const Tensor& x, const Tensor& logits) {
  const OperatorScope scope("global_context", x, logits);
  const Shape s = x.shape();
  check(s.rank() == 4 && s.numel() > 0, "global_context: expected a picture [N, H, W, C] with pixels, got ",
        s);
  check(logits.shape() == s.with(3, 1) && logits.dtype() == x.dtype(), "global_context: expected logits ",
        s.with(3, 1), " of the picture's dtype, got ", logits.shape());
  const int64_t N = s[0], C = s[3], pixels = s[1] * s[2];
  const Tensor weights = softmax(logits.detach().with_shape({N, pixels}), 1);
  Tensor y = empty({N, 1, 1, C}, x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    reduce_columns(x.device(), N, pixels, C, WeightedMean<T>{x.data<T>(), weights.data<T>(), y.data<T>(), C});
  });
  describe_statistic(y, {x, logits});

  return differentiable(
      "global_context", y, {x, logits},
      [s, xs = SavedMap(x), ws = Saved(weights), ys = Saved(y)](const Tensor& gy, const Need& need) {
        Grads grads(2);
        if (need(0)) grads[0] = empty(s, gy.options());
        if (need(1)) grads[1] = empty(s.with(3, 1), gy.options());
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          const auto to = [](const Tensor& grad) { return grad.defined() ? grad.data<T>() : nullptr; };
          parallel_rows(gy.device(), s[0] * s[1] * s[2], s[3],
                        Gradient<T>{xs.get().data<T>(), ws.get().data<T>(), ys.get().data<T>(), gy.data<T>(),
                                    to(grads[0]), to(grads[1]), s[3], s[1] * s[2]});
        });
        return grads;
      });
}

}  // namespace lux
