// The mask is a function of key and position, so forward and backward compute it, and nothing keeps it.
#include "luxgrad/kernels/dropout.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct Mask {
  const T* x;
  T* y;
  uint64_t key;
  double p;

  // SplitMix64 (Steele et al., OOPSLA 2014): a uniform number in [0, 1) for every position.
  LUX_HD double uniform(int64_t i) const {
    uint64_t z = key + (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }
  LUX_HD void operator()(int64_t i) const {
    // Looked up, as nobody can predict a branch.
    const Arith<T> results[] = {Arith<T>(x[i]) / static_cast<Arith<T>>(1 - p), Arith<T>(0)};
    y[i] = T(results[uniform(i) < p ? 1 : 0]);
  }
};

Tensor masked(const Tensor& x, double p, uint64_t key) {
  Tensor y = empty(x.shape(), x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), x.numel(), Mask<T>{x.data<T>(), y.data<T>(), key, p});
  });
  return y;
}

}  // namespace

Tensor dropout(const Tensor& x, double p, uint64_t key) {
  const OperatorScope scope("dropout", x);
  check(p >= 0 && p < 1, "dropout: expected a probability in [0, 1), got ", p);
  return differentiable("dropout", masked(x, p, key), {x},
                        [p, key](const Tensor& gy) { return Grads{masked(gy, p, key)}; });
}

}  // namespace lux
