// 16 bytes of a picture per thread.
#include "luxgrad/kernels/byte_formulas.h"
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/launch.cuh"

namespace lux::cuda {
namespace {

constexpr int kBytes = 16;

template <class T>
struct FromBytes {
  const uint8_t* x;
  T* y;
  int64_t n;

  LUX_DEVICE void operator()() const {
    const int64_t first = global_index() * kBytes;
    if (first + kBytes > n) {
      for (int64_t i = first; i < n; ++i) y[i] = T(value_of_sample<float>(x[i]));
      return;
    }
    const Wide wide = load_wide(x + first);
    LUX_UNROLL
    for (int i = 0; i < kBytes; i += kWide<T>) {
      Lanes<kWide<T>> values;
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l) {
        const uint32_t word = wide.words[(i + l) / 4];
        values[l] = value_of_sample<float>(static_cast<uint8_t>(word >> (i + l) % 4 * 8));
      }
      store(y + first + i, values);
    }
  }
};

template <class T>
struct ToBytes {
  static constexpr int kBlocksPerProcessor = 2;
  const T* x;
  uint8_t* y;
  int64_t n;

  LUX_DEVICE void operator()() const {
    const int64_t first = global_index() * kBytes;
    if (first + kBytes > n) {
      for (int64_t i = first; i < n; ++i) y[i] = sample_of_value<uint8_t>(static_cast<float>(x[i]));
      return;
    }
    Wide wide{};
    LUX_UNROLL
    for (int i = 0; i < kBytes; i += kWide<T>) {
      const Lanes<kWide<T>> values = load<kWide<T>>(x + first + i);
      LUX_UNROLL
      for (int l = 0; l < kWide<T>; ++l)
        wide.words[(i + l) / 4] |= uint32_t{sample_of_value<uint8_t>(values[l])} << (i + l) % 4 * 8;
    }
    store_wide(y + first, wide);
  }
};

bool from_bytes(const Tensor& bytes, const Tensor& y) {
  if (y.numel() == 0) return false;
  return dispatch_tuned(y.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("from_bytes", {bytes, y});
    launch(blocks_for(blocks_of(y.numel(), kBytes)),
           FromBytes<T>{bytes.data<uint8_t>(), y.data<T>(), y.numel()});
  });
}

bool to_bytes(const Tensor& x, const Tensor& y) {
  if (y.numel() == 0) return false;
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("to_bytes", {x, y});
    launch(blocks_for(blocks_of(y.numel(), kBytes)), ToBytes<T>{x.data<T>(), y.data<uint8_t>(), y.numel()});
  });
}

}  // namespace

void fill_bytes(Slots& slots, Device::Type device) {
  slots.from_bytes.set(device, from_bytes);
  slots.to_bytes.set(device, to_bytes);
}

}  // namespace lux::cuda
