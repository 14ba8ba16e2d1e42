// With z = x + bias the gradient of x is gz = gy·leaky_relu'(z), that of the bias its sum over all pixels,
// and that of the skip gy. z is made anew, so that nothing is kept but x, which others keep as well.
#include "luxgrad/kernels/residual.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/formulas.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct Forward {
  const T *x, *bias, *skip;
  T* y;
  LeakyRelu rectifier;
  int64_t C, pixels;

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    const int64_t at = pixel * C;
    team.each(C, [from = x + at, shift = bias + pixel / pixels * C, by = skip + at, to = y + at,
                  rectifier = rectifier](int64_t c) {
      to[c] = T(rectifier.value(A(from[c]) + A(shift[c])) + A(by[c]));
    });
  }
};

template <class T>
struct Gradient {
  const T *x, *bias, *gy;
  T *gx, *gbias;
  LeakyRelu rectifier;
  int64_t C, pixels;

  LUX_HD Arith<T> term(int64_t pixel, int64_t c) const {
    using A = Arith<T>;
    const int64_t i = pixel * C + c;
    const A z = A(x[i]) + A(bias[pixel / pixels * C + c]);
    gx[i] = T(A(gy[i]) * rectifier.slope_of_output(z));  // which has the sign of z
    return A(gx[i]);
  }
  LUX_HD void finish(int64_t n, int64_t c, double sum) const {
    gbias[n * C + c] = T(static_cast<Arith<T>>(sum));
  }
};

}  // namespace

Tensor residual(const Tensor& x, const Tensor& bias, double negative_slope, const Tensor& skip) {
  const OperatorScope scope("residual", x, bias, skip);
  const Shape s = x.shape();
  check(s.rank() == 4, "residual: expected a picture [N, H, W, C], got ", s);
  const Shape of_bias{s[0], 1, 1, s[3]};
  check(
      bias.shape() == of_bias && skip.shape() == s && bias.dtype() == x.dtype() && skip.dtype() == x.dtype(),
      "residual: expected a bias ", of_bias, " and a skip ", s, " of the picture's dtype, got ", bias.shape(),
      " and ", skip.shape());
  check(negative_slope >= 0, "residual: expected a negative_slope of at least 0, got ", negative_slope);
  const LeakyRelu rectifier{negative_slope};
  const int64_t C = s[3], pixels = s[1] * s[2];
  Tensor y = empty(s, x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_rows(x.device(), s[0] * pixels, C,
                  Forward<T>{x.data<T>(), bias.data<T>(), skip.data<T>(), y.data<T>(), rectifier, C, pixels});
  });
  describe_pointwise(y, {bias, x, skip}, [negative_slope](const Tensors& in) {
    return residual(in[1], in[0], negative_slope, in[2]);
  });

  return differentiable(
      "residual", y, {x, bias, skip},
      [s, rectifier, C, pixels, xs = SavedMap(x), bs = Saved(bias)](const Tensor& gy, const Need& need) {
        Grads grads(3);
        if (need(2)) grads[2] = gy;
        if (!need(0) && !need(1)) return grads;
        grads[0] = empty(s, gy.options());
        grads[1] = empty({s[0], 1, 1, C}, gy.options());
        dispatch(gy.dtype(), [&](auto t) {
          using T = decltype(t);
          reduce_columns(gy.device(), s[0], pixels, C,
                         Gradient<T>{xs.get().data<T>(), bs.get().data<T>(), gy.data<T>(), grads[0].data<T>(),
                                     grads[1].data<T>(), rectifier, C, pixels});
        });
        return grads;
      });
}

}  // namespace lux
