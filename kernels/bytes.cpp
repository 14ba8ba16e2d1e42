#include "luxgrad/kernels/bytes.h"

#include "luxgrad/kernels/byte_formulas.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// One thread per colour: `next` samples on from the one before, in pixels of `channels` samples.
template <class T, class Sample>
struct FromSamples {
  const Sample* x;
  T* y;
  int64_t channels, next;
  LUX_HD void operator()(int64_t i) const {
    y[i] = T(value_of_sample<Arith<T>>(x[i / 3 * channels + i % 3 * next]));
  }
};

template <class T>
struct FromBytes {
  const uint8_t* x;
  T* y;
  LUX_HD void operator()(int64_t i) const { y[i] = T(value_of_sample<Arith<T>>(x[i])); }
};

template <class T, class Sample>
struct ToSamples {
  const T* x;
  Sample* y;
  LUX_HD void operator()(int64_t i) const {
    y[i] = sample_of_value<Sample>(static_cast<double>(Arith<T>(x[i])));
  }
};

template <class Sample>
void convert(const Tensor& samples, int channels, const Tensor& y) {
  dispatch(y.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(y.device(), y.numel(),
                 FromSamples<T, Sample>{static_cast<const Sample*>(samples.raw()), y.data<T>(), channels,
                                        channels < 3 ? 0 : 1});
  });
}

template <class Sample>
void convert(const Tensor& x, const Tensor& samples) {
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(x.device(), x.numel(),
                 ToSamples<T, Sample>{x.data<T>(), static_cast<Sample*>(samples.raw())});
  });
}

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
  if (!slots().to_bytes(x.device(), x, y)) convert<uint8_t>(x, y);
  return y;
}

Tensor from_samples(const Tensor& samples, int channels, DType dtype) {
  const Shape& s = samples.shape();
  check(samples.dtype() == DType::u8 && s.rank() == 4 && channels >= 1 && channels <= 4 &&
            (s[3] == channels || s[3] == int64_t{2} * channels),
        "from_samples: expected u8 [N, H, W, ", channels, "] or [N, H, W, ", 2 * channels, "], got ",
        samples.dtype(), " ", s);
  if (channels == 3 && s[3] == 3) return from_bytes(samples, dtype);
  Tensor y = empty({s[0], s[1], s[2], 3}, {dtype, samples.device()});
  s[3] == channels ? convert<uint8_t>(samples, channels, y) : convert<uint16_t>(samples, channels, y);
  return y;
}

Tensor to_samples(const Tensor& x, int bits) {
  const Shape& s = x.shape();
  check(s.rank() == 4 && (bits == 8 || bits == 16),
        "to_samples: expected [N, H, W, C] and 8 or 16 bits, got ", s, " and ", bits);
  if (bits == 8) return to_bytes(x);
  Tensor y = empty(s.with(3, 2 * s[3]), {DType::u8, x.device()});
  convert<uint16_t>(x, y);
  return y;
}

}  // namespace lux
