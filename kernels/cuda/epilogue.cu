// What a library's engines leave to do with sums: biases, and activations that its graphs have not. Where the
// sums are results already, they are read and written in place.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/launch.cuh"
#include "luxgrad/kernels/epilogue.h"

namespace lux::cuda {
namespace {

template <class T, int L, Activation activation>
struct Epilogue {
  const T *sums, *bias;  // bias null where there is none
  T* y;
  int64_t items, row, K;  // packs of y; elements of a row of the sums, of one of y
  float slope;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const int64_t packs = K / L, k = global_index() % packs * L;
    Lanes<L> values = load_changing<L>(sums + global_index() / packs * row + k);
    if (bias != nullptr) {
      const Lanes<L> more = load<L>(bias + k);
      for (int l = 0; l < L; ++l) values[l] += more[l];
    }
    for (int l = 0; l < L; ++l) values[l] = activate(activation, slope, values[l]);
    store(y + global_index() * L, values);
  }
};

bool epilogue(const Tensor& sums, const int64_t& width, const Tensor& bias, const Activation& activation,
              const double& slope, const Tensor& y) {
  if (y.numel() == 0 || reinterpret_cast<uintptr_t>(sums.raw()) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(y.raw()) % 16 != 0)
    return false;  // rows of a picture may begin anywhere
  return dispatch_tuned(y.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("epilogue", 2 * y.numel() * static_cast<int64_t>(sizeof(T)));
    // Without biases rows do not matter where they follow one another.
    const bool flat = width == y.size(3) && !bias.defined();
    const int64_t K = flat ? y.numel() : y.size(3), row = flat ? K : width;
    with_common_lanes<T>({K, row}, [&](auto lanes) {
      const int64_t items = y.numel() / lanes;
      with_constant(activation, [&](auto constant) {
        launch(blocks_for(items),
               Epilogue<T, lanes, constant>{sums.data<T>(), data_or_null<T>(bias), y.data<T>(), items, row, K,
                                            static_cast<float>(slope)});
      });
    });
  });
}

}  // namespace

void fill_epilogue(Slots& slots, Device::Type device) { slots.epilogue.set(device, epilogue); }

}  // namespace lux::cuda
