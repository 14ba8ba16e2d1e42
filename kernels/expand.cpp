// The gradient is the sum over all pixels.
#include "luxgrad/kernels/expand.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct Expand {
  const T* x;
  T* y;
  int64_t C, pixels;  // of a picture

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    const T* const from = x + pixel / pixels * C;
    T* const to = y + pixel * C;
    team.each(C, [&](int64_t c) { to[c] = from[c]; });
  }
};

}  // namespace

Tensor expand_as(const Tensor& x, const Tensor& like) {
  const OperatorScope scope("expand_as", x, like);
  const Shape s = x.shape();
  check(s.rank() == 4 && like.shape().rank() == 4 && s == Shape{like.size(0), 1, 1, s[3]},
        "expand_as: expected x [N, 1, 1, C] and a picture [N, H, W, …], got ", s, " and ", like.shape());
  const int64_t pixels = like.size(1) * like.size(2);
  Tensor y = empty(like.shape().with(3, s[3]), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_rows(x.device(), s[0] * pixels, s[3], Expand<T>{x.data<T>(), y.data<T>(), s[3], pixels});
  });
  describe_pointwise(y, {x, like}, [](const Tensors& in) { return expand_as(in[0], in[1]); });

  return differentiable("expand_as", y, {x}, [s](const Tensor& gy) { return Grads{sum_to(gy, s)}; });
}

Tensor crop_as(const Tensor& x, const Tensor& like) {
  const Shape s = x.shape(), wanted = like.shape();
  check(s.rank() == 4 && wanted.rank() == 4 && wanted[1] <= s[1] && wanted[2] <= s[2],
        "crop_as: expected a picture of at least the size of ", wanted, ", got ", s);
  Tensor y = x;
  if (wanted[1] < s[1] || wanted[2] < s[2]) y = reflect_pad(x, {0, wanted[1] - s[1], 0, wanted[2] - s[2]});
  describe_pointwise(y, {x, like}, [](const Tensors& in) { return crop_as(in[0], in[1]); });
  return y;
}

}  // namespace lux
