// The forms of the zero-reference losses as numbers, and their formulas: what the plain and the tuned kernels
// share. A is the type that is computed in.
#pragma once

#include <cmath>

#include "luxgrad/kernels/color_constancy.h"
#include "luxgrad/kernels/exposure.h"
#include "luxgrad/kernels/spatial_consistency.h"
#include "luxgrad/kernels/total_variation.h"
#include "luxgrad/tensor/dtype.h"

namespace lux {

inline constexpr int64_t kRegion = 4;  // side of a region of the spatial-consistency loss, in pixels

/// Loss of a region: scale · (self·e² + sum over its neighbours of pair(Y_i - Y_j, I_i - I_j)).
struct SpatialWeights {
  bool absolute;  // pair(u, v) = (|u| - |v|)² instead of (u - v)²
  bool vertical;  // neighbours above and below count
  bool outside;   // a neighbour outside the picture counts, with mean 0
  double self;
  double scale;

  template <class A>
  LUX_HD A pair(A u, A v) const {
    const A d = absolute ? std::fabs(u) - std::fabs(v) : u - v;
    return d * d;
  }
  template <class A>
  LUX_HD static A sign(A u) {
    return u > A(0) ? A(1) : (u < A(0) ? A(-1) : A(0));
  }
  template <class A>
  LUX_HD A slope_u(A u, A v) const {
    return absolute ? A(2) * (std::fabs(u) - std::fabs(v)) * sign(u) : A(2) * (u - v);
  }
  template <class A>
  LUX_HD A slope_v(A u, A v) const {
    return absolute ? A(-2) * (std::fabs(u) - std::fabs(v)) * sign(v) : A(-2) * (u - v);
  }
};
SpatialWeights weights_of(SpatialForm form);

/// The grid of regions, [N, rows, columns], over pictures [N, H, W, C].
struct RegionGrid {
  int64_t N, H, W, C, rows, columns;
  LUX_HD int64_t regions() const { return N * rows * columns; }
  LUX_HD double weight() const {
    return 1 / static_cast<double>(kRegion * kRegion * C);
  }  // of a pixel's channel
};

template <class A>
struct RegionMeans {
  A y, i;
};

/// Calls f(means of the neighbour, whether it is inside) for the neighbours that `weights` count.
template <class A, class MeansAt, class F>
LUX_HD void each_neighbour(const RegionGrid& grid, const SpatialWeights& weights, int64_t region,
                           const MeansAt& at, const F& f) {
  const int64_t column = region % grid.columns, row = region / grid.columns % grid.rows;
  const auto visit = [&](bool inside, int64_t neighbour) {
    if (inside)
      f(at(neighbour), true);
    else if (weights.outside)
      f(RegionMeans<A>{0, 0}, false);
  };
  visit(column > 0, region - 1);
  visit(column + 1 < grid.columns, region + 1);
  if (!weights.vertical) return;
  visit(row > 0, region - grid.columns);
  visit(row + 1 < grid.rows, region + grid.columns);
}

/// Slopes of the sum over all regions in the means of one. A pair inside the picture counts twice, once from
/// either side, with the same slopes.
template <class A, class MeansAt>
LUX_HD RegionMeans<A> region_slopes(const RegionGrid& grid, const SpatialWeights& weights, int64_t region,
                                    const MeansAt& at) {
  const RegionMeans<A> own = at(region);
  const A e = own.y - own.i, self = static_cast<A>(weights.self);
  RegionMeans<A> slope{A(2) * self * e, A(-2) * self * e};
  each_neighbour<A>(grid, weights, region, at, [&](const RegionMeans<A>& other, bool inside) {
    const A u = own.y - other.y, v = own.i - other.i, times = inside ? A(2) : A(1);
    slope.y += times * weights.slope_u(u, v);
    slope.i += times * weights.slope_v(u, v);
  });
  return slope;
}

/// Colour of one picture: the loss of its channel means m, and its slope with respect to each.
struct ColorCast {
  ColorForm form;

  template <class A>
  LUX_HD A value(const A* m) const {
    const A rg = m[0] - m[1], rb = m[0] - m[2], gb = m[1] - m[2];
    if (form == ColorForm::paper) return rg * rg + rb * rb + gb * gb;
    return std::sqrt(rg * rg * rg * rg + rb * rb * rb * rb + gb * gb * gb * gb);
  }
  template <class A>
  LUX_HD A slope(const A* m, int64_t channel) const {
    const A u = m[channel] - m[(channel + 1) % 3], v = m[channel] - m[(channel + 2) % 3];
    if (form == ColorForm::paper) return A(2) * (u + v);
    const A root = value(m);
    return root == A(0) ? A(0) : A(2) * (u * u * u + v * v * v) / root;
  }
};

/// Smoothness: the sum over elements of (vertical·v² + horizontal·h²), or of vertical·(|v| + |h|)² if
/// `joint`.
struct VariationWeights {
  bool joint;
  double vertical, horizontal;
};
/// Throws Error where the form has no meaning for the shape.
VariationWeights weights_of(VariationForm form, const Shape& shape);

}  // namespace lux
