// A convolution of one pixel: the same kernels, the same gradients.
#include "luxgrad/kernels/linear.h"

#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/reshape.h"

namespace lux {

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check(x.shape().rank() == 2 && weight.shape().rank() == 2 && x.size(1) == weight.size(1),
        "linear: expected x [N, in] and weight [out, in], got ", x.shape(), " and ", weight.shape());
  const int64_t N = x.size(0), in = x.size(1), out = weight.size(0);
  return reshape(conv2d(reshape(x, {1, 1, N, in}), reshape(weight, {out, 1, 1, in}), bias), {N, out});
}

}  // namespace lux
