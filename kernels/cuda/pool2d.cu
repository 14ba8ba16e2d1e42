// One thread per window, or per pixel in the backward, and 16 bytes of its channels.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/launch.cuh"
#include "luxgrad/kernels/pixel.h"

namespace lux::cuda {
namespace {

template <class T>
struct Pictures {  // [N, rows, columns, C]
  T* data;
  int64_t rows, columns, C;
  LUX_DEVICE T* at(const Pixel& pixel) const { return data + pixel.index(rows, columns) * C; }
};

// What a thread owns: a pixel, and L channels from c on.
struct Item {
  Pixel pixel;
  int64_t c;
  LUX_DEVICE static Item of(int64_t i, int64_t rows, int64_t columns, int64_t packs, int lanes) {
    return {Pixel::of(i / packs, rows, columns), i % packs * lanes};
  }
};

template <class T, int L>
struct AveragePool {
  PoolAxis rows, columns;
  int64_t items;
  Pictures<const T> x;
  Pictures<T> y;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const auto [at, c] = Item::of(global_index(), y.rows, y.columns, y.C / L, L);
    Lanes<L> sum;
    for (int64_t h = rows.begin(at.h); h < rows.end(at.h); ++h) {
      for (int64_t w = columns.begin(at.w); w < columns.end(at.w); ++w) {
        const Lanes<L> values = load<L>(x.at({at.n, h, w}) + c);
        for (int l = 0; l < L; ++l) sum[l] += values[l];
      }
    }
    const auto count = static_cast<float>(rows.count(at.h) * columns.count(at.w));
    for (int l = 0; l < L; ++l) sum[l] /= count;
    store(y.at(at) + c, sum);
  }
};

template <class T, int L>
struct AveragePoolGradient {
  static constexpr int kBlocksPerProcessor = 2;
  PoolAxis rows, columns;
  int64_t items;
  Pictures<const T> gy;
  Pictures<T> gx;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const auto [at, c] = Item::of(global_index(), gx.rows, gx.columns, gx.C / L, L);
    Lanes<L> sum;
    for (int64_t p = rows.first_window(at.h); p <= rows.last_window(at.h); ++p) {
      for (int64_t q = columns.first_window(at.w); q <= columns.last_window(at.w); ++q) {
        const Lanes<L> g = load<L>(gy.at({at.n, p, q}) + c);
        const auto count = static_cast<float>(rows.count(p) * columns.count(q));
        for (int l = 0; l < L; ++l) sum[l] += g[l] / count;
      }
    }
    store(gx.at(at) + c, sum);
  }
};

template <class T, int L>
struct MaxPool {
  PoolAxis rows, columns;
  int64_t items;
  Pictures<const T> x;
  Pictures<T> y;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const auto [at, c] = Item::of(global_index(), y.rows, y.columns, y.C / L, L);
    const int64_t top = rows.begin(at.h), left = columns.begin(at.w);
    Lanes<L> best = load<L>(x.at({at.n, top, left}) + c);
    for (int64_t h = top; h < rows.end(at.h); ++h) {
      for (int64_t w = left; w < columns.end(at.w); ++w) {
        const Lanes<L> values = load<L>(x.at({at.n, h, w}) + c);
        for (int l = 0; l < L; ++l) {
          if (values[l] > best[l] || values[l] != values[l]) best[l] = values[l];
        }
      }
    }
    store(y.at(at) + c, best);
  }
};

// A pixel looks at the windows that see it: in which is it the first of the largest?
template <class T, int L>
struct MaxPoolGradient {
  static constexpr int kBlocksPerProcessor = 2;
  PoolAxis rows, columns;
  int64_t items;
  Pictures<const T> x, gy;
  Pictures<T> gx;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const auto [at, c] = Item::of(global_index(), gx.rows, gx.columns, gx.C / L, L);
    Lanes<L> sum;
    for (int64_t p = rows.first_window(at.h); p <= rows.last_window(at.h); ++p) {
      for (int64_t q = columns.first_window(at.w); q <= columns.last_window(at.w); ++q) {
        const unsigned wins = lanes_won(at, c, p, q);
        if (wins == 0) continue;
        const Lanes<L> g = load<L>(gy.at({at.n, p, q}) + c);
        for (int l = 0; l < L; ++l) sum[l] += (wins >> l & 1u) != 0 ? g[l] : 0.0f;
      }
    }
    store(gx.at(at) + c, sum);
  }

  LUX_DEVICE unsigned lanes_won(const Pixel& at, int64_t c, int64_t p, int64_t q) const {
    const int64_t top = rows.begin(p), left = columns.begin(q);
    Lanes<L> best;
    unsigned wins = 0;
    for (int64_t h = top; h < rows.end(p); ++h) {
      for (int64_t w = left; w < columns.end(q); ++w) {
        const Lanes<L> values = load<L>(x.at({at.n, h, w}) + c);
        const bool first = h == top && w == left, own = h == at.h && w == at.w;
        for (int l = 0; l < L; ++l) {
          if (!first && !(values[l] > best[l] || values[l] != values[l])) continue;
          best[l] = values[l];
          wins = own ? wins | 1u << l : wins & ~(1u << l);
        }
      }
    }
    return wins;
  }
};

template <class T>
Pictures<const T> source(const Tensor& x) {
  return {x.data<T>(), x.size(1), x.size(2), x.size(3)};
}
template <class T>
Pictures<T> target(const Tensor& y) {
  return {y.data<T>(), y.size(1), y.size(2), y.size(3)};
}

// f(t, lanes, items) for one item per pixel of `result` and its lanes of channels.
template <class F>
bool over_pixels(const Tensor& result, const F& f) {
  if (result.numel() == 0) return false;
  return dispatch_tuned(result.dtype(), [&](auto t) {
    with_lanes<decltype(t)>(result.size(3), [&](auto lanes) { f(t, lanes, result.numel() / lanes); });
  });
}

bool avg_pool2d(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, const Tensor& y) {
  return over_pixels(y, [&](auto t, auto lanes, int64_t items) {
    using T = decltype(t);
    must_move("avg_pool2d", {x, y});
    launch(blocks_for(items), AveragePool<T, lanes>{rows, columns, items, source<T>(x), target<T>(y)});
  });
}

bool avg_pool2d_gradient(const Tensor& gy, const PoolAxis& rows, const PoolAxis& columns, const Tensor& gx) {
  return over_pixels(gx, [&](auto t, auto lanes, int64_t items) {
    using T = decltype(t);
    must_move("avg_pool2d_gradient", {gy, gx});
    launch(blocks_for(items),
           AveragePoolGradient<T, lanes>{rows, columns, items, source<T>(gy), target<T>(gx)});
  });
}

bool max_pool2d(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, const Tensor& y) {
  return over_pixels(y, [&](auto t, auto lanes, int64_t items) {
    using T = decltype(t);
    must_move("max_pool2d", {x, y});
    launch(blocks_for(items), MaxPool<T, lanes>{rows, columns, items, source<T>(x), target<T>(y)});
  });
}

bool max_pool2d_gradient(const Tensor& x, const Tensor& gy, const PoolAxis& rows, const PoolAxis& columns,
                         const Tensor& gx) {
  return over_pixels(gx, [&](auto t, auto lanes, int64_t items) {
    using T = decltype(t);
    must_move("max_pool2d_gradient", {x, gy, gx});
    launch(blocks_for(items),
           MaxPoolGradient<T, lanes>{rows, columns, items, source<T>(x), source<T>(gy), target<T>(gx)});
  });
}

}  // namespace

void fill_pool2d(Slots& slots, Device::Type device) {
  slots.avg_pool2d.set(device, avg_pool2d);
  slots.avg_pool2d_gradient.set(device, avg_pool2d_gradient);
  slots.max_pool2d.set(device, max_pool2d);
  slots.max_pool2d_gradient.set(device, max_pool2d_gradient);
}

}  // namespace lux::cuda
