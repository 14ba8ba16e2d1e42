// Runs of elements between rows of different lengths: 16 bytes per thread where runs, rows and beginnings are
// multiples of them.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/launch.cuh"

namespace lux::cuda {
namespace {

template <class T, int L>
struct CopyRuns {
  const T* from;
  T* to;
  int64_t items, run, from_row, to_row;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const int64_t packs = run / L, row = global_index() / packs, i = global_index() % packs * L;
    store(to + row * to_row + i, load<L>(from + row * from_row + i));
  }
};

// A run among zeros.
template <class T, int L>
struct WidenRuns {
  const T* from;
  T* to;
  int64_t items, run, before, to_row;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const int64_t packs = to_row / L, row = global_index() / packs, i = global_index() % packs * L;
    const bool inside = i >= before && i < before + run;
    store(to + row * to_row + i, inside ? load<L>(from + row * run + i - before) : Lanes<L>{});
  }
};

bool copy_runs(const RunsOf& from, const RunsOf& to, const int64_t& rows, const int64_t& run) {
  if (rows * run == 0) return false;
  return dispatch_tuned(to.tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("copy_runs", rows * run * 2 * static_cast<int64_t>(sizeof(T)));
    with_common_lanes<T>({run, from.begin, from.row, to.begin, to.row}, [&](auto lanes) {
      const int64_t items = rows * run / lanes;
      launch(blocks_for(items),
             CopyRuns<T, lanes>{from.tensor.data<T>() + from.begin, to.tensor.data<T>() + to.begin, items,
                                run, from.row, to.row});
    });
  });
}

bool widen_runs(const Tensor& gy, const int64_t& run, const int64_t& before, const int64_t& row,
                const Tensor& gx) {
  if (gx.numel() == 0 || gy.numel() == 0) return false;
  return dispatch_tuned(gy.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("widen_runs", {gy, gx});
    with_common_lanes<T>({run, before, row}, [&](auto lanes) {
      const int64_t items = gx.numel() / lanes;
      launch(blocks_for(items), WidenRuns<T, lanes>{gy.data<T>(), gx.data<T>(), items, run, before, row});
    });
  });
}

}  // namespace

void fill_concat(Slots& slots, Device::Type device) {
  slots.copy_runs.set(device, copy_runs);
  slots.widen_runs.set(device, widen_runs);
}

}  // namespace lux::cuda
