#include "luxgrad/kernels/bytes.h"

#include "luxgrad/kernels/byte_formulas.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct FromBytes {
  const uint8_t* x;
  T* y;
  LUX_HD void operator()(int64_t i) const { y[i] = T(value_of_byte<Arith<T>>(x[i])); }
};

template <class T>
struct ToBytes {
  const T* x;
  uint8_t* y;
  LUX_HD void operator()(int64_t i) const { y[i] = byte_of_value(Arith<T>(x[i])); }
};

}  // namespace

Tensor from_bytes(const Tensor& bytes, DType dtype) {
  check(bytes.dtype() == DType::u8, "from_bytes: expected u8, got ", bytes.dtype());
  Tensor y = empty(bytes.shape(), {dtype, bytes.device()});
  if (slots().from_bytes(bytes.device(), bytes, y)) return y;
  dispatch(dtype, [&](auto t) {
    using T = decltype(t);
    parallel_for(y.device(), y.numel(), FromBytes<T>{bytes.data<uint8_t>(), y.data<T>()});
  });
  return y;
}

Tensor to_bytes(const Tensor& x) {
  Tensor y = empty(x.shape(), {DType::u8, x.device()});
  if (slots().to_bytes(x.device(), x, y)) return y;
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(y.device(), y.numel(), ToBytes<T>{x.data<T>(), y.data<uint8_t>()});
  });
  return y;
}

}  // namespace lux
