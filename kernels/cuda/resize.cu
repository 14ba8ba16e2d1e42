// One thread per pixel and 16 bytes of its channels. The backward gathers: an input pixel asks the outputs
// around its own place how much of it they took.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/launch.cuh"
#include "luxgrad/kernels/pixel.h"

namespace lux::cuda {
namespace {

template <class T, int L>
struct Resize {
  ResizeAxis rows, columns;
  int64_t items, C;
  const T* x;
  T* y;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const int64_t packs = C / L, c = global_index() % packs * L;
    const auto [n, p, q] = Pixel::of(global_index() / packs, rows.out, columns.out);
    const Taps row = rows.taps(p), column = columns.taps(q);
    const auto at = [&](int64_t h, int64_t w) {
      return load<L>(x + Pixel{n, h, w}.index(rows.in, columns.in) * C + c);
    };
    const Lanes<L> a = at(row.first, column.first), b = at(row.first, column.second);
    const Lanes<L> d = at(row.second, column.first), e = at(row.second, column.second);
    const auto fy = static_cast<float>(row.fraction), fx = static_cast<float>(column.fraction);
    Lanes<L> result;
    for (int l = 0; l < L; ++l) {
      const float upper = (1 - fx) * a[l] + fx * b[l], lower = (1 - fx) * d[l] + fx * e[l];
      result[l] = (1 - fy) * upper + fy * lower;
    }
    store(y + global_index() / packs * C + c, result);
  }
};

template <class T, int L>
struct ResizeGradient {
  ResizeAxis rows, columns;
  int64_t items, C;
  const T* gy;
  T* gx;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const int64_t packs = C / L, c = global_index() % packs * L;
    const auto [n, h, w] = Pixel::of(global_index() / packs, rows.in, columns.in);
    const int64_t first = columns.first_output(w), end = columns.end_output(w);
    Lanes<L> sum;
    for (int64_t p = rows.first_output(h); p < rows.end_output(h); ++p) {
      const auto wy = static_cast<float>(rows.taps(p).weight_of(h));
      if (wy == 0) continue;
      for (int64_t q = first; q < end; ++q) {
        const float weight = wy * static_cast<float>(columns.taps(q).weight_of(w));
        if (weight == 0) continue;
        const Lanes<L> g = load<L>(gy + Pixel{n, p, q}.index(rows.out, columns.out) * C + c);
        for (int l = 0; l < L; ++l) sum[l] += weight * g[l];
      }
    }
    store(gx + global_index() / packs * C + c, sum);
  }
};

bool resize(const Tensor& x, const ResizeAxis& rows, const ResizeAxis& columns, const Tensor& y) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("resize", {x, y});
    with_lanes<T>(y.size(3), [&](auto lanes) {
      const int64_t items = y.numel() / lanes;
      launch(blocks_for(items), Resize<T, lanes>{rows, columns, items, y.size(3), x.data<T>(), y.data<T>()});
    });
  });
}

bool resize_gradient(const Tensor& gy, const ResizeAxis& rows, const ResizeAxis& columns, const Tensor& gx) {
  return dispatch_tuned(gy.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("resize_gradient", {gy, gx});
    with_lanes<T>(gx.size(3), [&](auto lanes) {
      const int64_t items = gx.numel() / lanes;
      launch(blocks_for(items),
             ResizeGradient<T, lanes>{rows, columns, items, gx.size(3), gy.data<T>(), gx.data<T>()});
    });
  });
}

}  // namespace

void fill_resize(Slots& slots, Device::Type device) {
  slots.resize.set(device, resize);
  slots.resize_gradient.set(device, resize_gradient);
}

}  // namespace lux::cuda
