// The transforms of Winograd's F(4x4, 3x3): a tile of 4x4 sums of a 3x3 convolution is
//
//     Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A      d: 6x6 pixels, g: 3x3 weights
//
// with 36 products instead of 144 (Lavin & Gray, CVPR 2016). The matrices evaluate and interpolate
// polynomials at the nodes 0, ±√½, ±√2 and ∞: with them the error stays near that of the direct sum, which
// the usual 0, ±1, ±2, ∞ more than double. The gradient of the weights is the adjoint, Gᵀ [ (A y Aᵀ) ⊙ (Bᵀ d
// B) ] G. Lanes are channels. Included by the files that are compiled once per instruction set.
#pragma once

#include "luxgrad/kernels/cpu/block.h"

// Where 16 registers have to do, GCC would keep in memory much of what it computes of several rows at once.
#if defined(__AVX512F__) || !defined(__x86_64__)
#define LUX_UNROLL_ROWS LUX_UNROLL
#elif defined(__clang__)
#define LUX_UNROLL_ROWS _Pragma("nounroll")
#else
#define LUX_UNROLL_ROWS _Pragma("GCC unroll 1")
#endif

namespace {

using Lanes = Vector<float>;

// Points of a tile along one axis, all of them, and its outputs along one axis.
constexpr int kSide = 6, kPoints = kSide * kSide, kOut = 4;
constexpr double kRootHalf = 0.70710678118654752440, kRootTwo = 1.41421356237309504880;
constexpr auto kA = static_cast<float>(kRootHalf), kB = static_cast<float>(kRootTwo);

// Bᵀ d.
inline void source_to_points(const Lanes* d, Lanes* t) {
  t[0] = d[0] - 2.5F * d[2] + d[4];
  const Lanes even = d[4] - 2.F * d[2], odd = kA * (d[3] - 2.F * d[1]);
  t[1] = even + odd;
  t[2] = even - odd;
  const Lanes far_even = d[4] - .5F * d[2], far_odd = kB * (d[3] - .5F * d[1]);
  t[3] = far_even + far_odd;
  t[4] = far_even - far_odd;
  t[5] = d[1] - 2.5F * d[3] + d[5];
}

// Aᵀ m.
inline void points_to_outputs(const Lanes* m, Lanes* y) {
  const Lanes even = m[1] + m[2], odd = kA * (m[1] - m[2]);
  const Lanes far_even = m[3] + m[4], far_odd = kB * (m[3] - m[4]);
  y[0] = m[0] + even + far_even;
  y[1] = odd + far_odd;
  y[2] = .5F * even + 2.F * far_even;
  y[3] = .5F * odd + 2.F * far_odd + m[5];
}

// A y.
inline void outputs_to_points(const Lanes* y, Lanes* m) {
  m[0] = y[0];
  const Lanes even = y[0] + .5F * y[2], odd = kA * (y[1] + .5F * y[3]);
  m[1] = even + odd;
  m[2] = even - odd;
  const Lanes far_even = y[0] + 2.F * y[2], far_odd = kB * (y[1] + 2.F * y[3]);
  m[3] = far_even + far_odd;
  m[4] = far_even - far_odd;
  m[5] = y[3];
}

// The weights are carried in f64: that is done once, and its error would be everybody's.
using Wide = Vector<double>;
constexpr int kWide = kLanes<float>, kHalf = kLanes<double>;

// G g.
inline void weights_to_points(const Wide* g, Wide* u) {
  u[0] = g[0];
  const Wide even = -2. / 3 * g[0] - 1. / 3 * g[2], odd = 2. / 3 * kRootHalf * g[1];
  u[1] = even - odd;
  u[2] = even + odd;
  const Wide far_even = 1. / 6 * g[0] + 1. / 3 * g[2], far_odd = 1. / 6 * kRootTwo * g[1];
  u[3] = far_even + far_odd;
  u[4] = far_even - far_odd;
  u[5] = g[2];
}

// Gᵀ u.
inline void points_to_weights(const Wide* u, Wide* g) {
  const Wide even = u[1] + u[2], odd = u[2] - u[1], far_even = u[3] + u[4], far_odd = u[3] - u[4];
  g[0] = u[0] - 2. / 3 * even + 1. / 6 * far_even;
  g[1] = 2. / 3 * kRootHalf * odd + 1. / 6 * kRootTwo * far_odd;
  g[2] = 1. / 3 * (far_even - even) + u[5];
}

// Both dimensions of kWide lanes: [36, kWide] to [9, kWide].
inline void points_to_filter(const double* u, float* g) {
  for (int lane = 0; lane < kWide; lane += kHalf) {
    Wide half[kSide][3];  // [column, row]
    for (int b = 0; b < kSide; ++b) {
      Wide column[kSide];
      for (int a = 0; a < kSide; ++a) column[a] = load(u + (int64_t{a} * kSide + b) * kWide + lane);
      points_to_weights(column, half[b]);
    }
    for (int i = 0; i < 3; ++i) {
      Wide row[kSide], weights[3];
      for (int b = 0; b < kSide; ++b) row[b] = half[b][i];
      points_to_weights(row, weights);
      for (int j = 0; j < 3; ++j) {
        for (int m = 0; m < kHalf; ++m) g[(i * 3 + j) * kWide + lane + m] = static_cast<float>(weights[j][m]);
      }
    }
  }
}

}  // namespace
