// One kernel pools a region and its four neighbours straight from the pictures and adds up their terms. It
// leaves the region means behind, a 24th of the pictures: all that the gradient needs. The three forms are
// three rows of a table.
#include "luxgrad/kernels/spatial_consistency.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/zero_reference_forms.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

using Means = RegionMeans<double>;

template <class T>
struct Consistency {
  const T *enhanced, *low;
  Arith<T>* means;  // [regions, 2]
  T* loss;
  RegionGrid grid;
  SpatialWeights form;

  LUX_HD double pool(const T* picture, int64_t region) const {
    const int64_t column = region % grid.columns, row = region / grid.columns % grid.rows;
    const int64_t n = region / (grid.columns * grid.rows), run = kRegion * grid.C;
    const T* p = picture + ((n * grid.H + row * kRegion) * grid.W + column * kRegion) * grid.C;
    double sum = 0;
    for (int64_t y = 0; y < kRegion; ++y, p += grid.W * grid.C) {
      for (int64_t x = 0; x < run; ++x) sum += static_cast<double>(Arith<T>(p[x]));
    }
    return sum * grid.weight();
  }
  LUX_HD Means pool(int64_t region) const { return {pool(enhanced, region), pool(low, region)}; }

  LUX_HD double term(int64_t, int64_t region) const {
    const Means own = pool(region);
    means[2 * region] = Arith<T>(own.y);
    means[2 * region + 1] = Arith<T>(own.i);
    const double e = own.y - own.i;
    double sum = form.self * e * e;
    each_neighbour<double>(
        grid, form, region, [&](int64_t neighbour) { return pool(neighbour); },
        [&](const Means& other, bool) { sum += form.pair(own.y - other.y, own.i - other.i); });
    return sum;
  }
  LUX_HD void finish(int64_t, double sum) const {
    *loss = T(static_cast<Arith<T>>(form.scale * sum / static_cast<double>(grid.regions())));
  }
};

// One row of a picture: every pixel of a region gets its share of the gradient of the region's means.
template <class T>
struct ConsistencyGradient {
  const Arith<T>* means;
  const T* gy;
  T *genhanced, *glow;  // null where not needed
  RegionGrid grid;
  SpatialWeights form;

  LUX_HD void operator()(const Team& team, int64_t picture_row) const {
    const int64_t width = grid.W * grid.C, n = picture_row / grid.H, h = picture_row % grid.H;
    const int64_t first = (n * grid.rows + h / kRegion) * grid.columns;
    const bool pooled = h / kRegion < grid.rows;
    const double share = form.scale * static_cast<double>(Arith<T>(gy[0])) * grid.weight() /
                         static_cast<double>(grid.regions());
    const auto put = [&](T* g, int64_t from, int64_t to, double value) {
      if (g == nullptr) return;
      for (int64_t x = from; x < to; ++x) g[picture_row * width + x] = T(static_cast<Arith<T>>(value));
    };
    team.each(grid.columns, [&](int64_t column) {
      const Means slope = pooled ? slopes(first + column) : Means{0, 0};
      const int64_t from = column * kRegion * grid.C, to = from + kRegion * grid.C;
      put(genhanced, from, to, share * slope.y);
      put(glow, from, to, share * slope.i);
      if (column + 1 == grid.columns) {  // what no region reads
        put(genhanced, to, width, 0);
        put(glow, to, width, 0);
      }
    });
  }

  LUX_HD Means slopes(int64_t region) const {
    return region_slopes<double>(grid, form, region, [&](int64_t r) {
      return Means{static_cast<double>(means[2 * r]), static_cast<double>(means[2 * r + 1])};
    });
  }
};

}  // namespace

SpatialWeights weights_of(SpatialForm form) {
  switch (form) {
    case SpatialForm::official:
      return {.absolute = false, .vertical = true, .outside = true, .self = 0, .scale = 1};
    case SpatialForm::keras:
      return {.absolute = false, .vertical = false, .outside = true, .self = 4, .scale = 1.0 / 3};
    case SpatialForm::paper:
      break;
  }
  return {.absolute = true, .vertical = true, .outside = false, .self = 0, .scale = 1};
}

Tensor spatial_consistency(const Tensor& enhanced, const Tensor& low, SpatialForm which) {
  const OperatorScope scope("spatial_consistency", enhanced, low);
  const Shape s = enhanced.shape();
  check(s.rank() == 4 && s[0] >= 1 && s[1] >= kRegion && s[2] >= kRegion && s[3] >= 1,
        "spatial_consistency: expected pictures [N, H, W, C] of at least 4x4, got ", s);
  check(low.shape() == s && low.dtype() == enhanced.dtype(), "spatial_consistency: expected a low picture ",
        enhanced.dtype(), " ", s, ", got ", low.dtype(), " ", low.shape());
  const RegionGrid grid{s[0], s[1], s[2], s[3], s[1] / kRegion, s[2] / kRegion};
  const SpatialWeights form = weights_of(which);

  Tensor loss = empty({}, enhanced.options());
  Tensor means = empty({grid.regions(), 2}, {arith_dtype(enhanced.dtype()), enhanced.device()});
  dispatch(enhanced.dtype(), [&](auto t) {
    using T = decltype(t);
    const int64_t cost = int64_t{5} * 2 * kRegion * kRegion * grid.C;
    parallel_reduce(
        enhanced.device(), 1, grid.regions(),
        Consistency<T>{enhanced.data<T>(), low.data<T>(), means.data<Arith<T>>(), loss.data<T>(), grid, form},
        cost);
  });

  const auto backward = [s, grid, form, means = Saved(means)](const Tensor& gy, const Need& need) {
    Tensor genhanced, glow;
    if (need(0)) genhanced = empty(s, gy.options());
    if (need(1)) glow = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(gy.device(), grid.N * grid.H, grid.W * grid.C,
                    ConsistencyGradient<T>{means.get().data<Arith<T>>(), gy.data<T>(),
                                           need(0) ? genhanced.data<T>() : nullptr,
                                           need(1) ? glow.data<T>() : nullptr, grid, form});
    });
    return Grads{genhanced, glow};
  };
  return differentiable("spatial_consistency", loss, {enhanced, low}, backward);
}

}  // namespace lux
