// The two geometries of tiles with 4x4 outputs. An axis of a tile reads kIn pixels, those of the next begin
// kStep further; they are carried to kAt points, where kProducts products are taken, and these to four
// outputs: product p is that of point kSource[p] and of weights kWeight[p], of kWeights. Included by the
// files that are compiled once per instruction set.
#pragma once

#include "luxgrad/kernels/cpu/band.h"
#include "luxgrad/kernels/cpu/winograd_transforms.h"

namespace {

// Three taps with a stride of 1, by F(4, 3).
struct Single {
  static constexpr int kTaps = 3, kIn = kSide, kStep = kOut, kAt = kSide, kProducts = kSide, kWeights = kSide;
  static constexpr int kSource[] = {0, 1, 2, 3, 4, 5}, kWeight[] = {0, 1, 2, 3, 4, 5};
  // |Bᵀ d| is at most kReach for |d| <= 1: the absolute sums of the rows of Bᵀ.
  static constexpr double kNear = 3 + 3 * kRootHalf, kFar = 1.5 + 1.5 * kRootTwo;
  static constexpr double kReach[] = {4.5, kNear, kNear, kFar, kFar, 4.5};

  static int64_t first(int64_t output, int64_t before) { return output - before; }
  static void to_points(const Lanes* d, Lanes* t) { source_to_points(d, t); }
  static void to_outputs(const Lanes* m, Lanes* y) { points_to_outputs(m, y); }
  static void weights_at(const Wide* g, Wide* u) { weights_to_points(g, u); }
};

// Three or four taps, transposed with a stride of 2: output h is the sum of tap i times pixel p over all with
// 2p + i = h + before. Every other output sees the even taps, the ones between them see the odd. Two outputs
// with two taps, d0·u + d1·v and d1·u + d2·v, take three products, (d0 - d1)·u, d1·(u + v) and (d1 - d2)·v,
// instead of four; both kinds of outputs read the same points. kOdd: the zeros before are odd in number, so
// that the first output of a tile sees odd taps.
template <int taps, bool kOdd>
struct Doubled;

template <bool kOdd>
struct Doubled<3, kOdd> {
  static constexpr int kTaps = 3, kIn = 3, kStep = 2, kAt = 4, kProducts = 5, kWeights = 4;
  static constexpr int kSource[] = {0, 1, 2, 1, 3}, kWeight[] = {0, 1, 2, 3, 3};
  static constexpr double kReach[] = {2, 1, 2, 1};

  static int64_t first(int64_t output, int64_t before) {
    return kOdd ? (output + before - 1) / 2 : (output + before) / 2 - 1;
  }
  static void to_points(const Lanes* d, Lanes* t) {
    const Lanes alone = kOdd ? d[0] : d[2];
    t[0] = d[0] - d[1];
    t[1] = d[1];
    t[2] = d[1] - d[2];
    t[3] = alone;
  }
  static void to_outputs(const Lanes* m, Lanes* y) {
    y[kOdd ? 1 : 0] = m[0] + m[1];
    y[kOdd ? 3 : 2] = m[1] - m[2];
    y[kOdd ? 2 : 1] = m[3];
    y[kOdd ? 0 : 3] = m[4];
  }
  static void weights_at(const Wide* g, Wide* u) {
    const Wide first = g[0], only = g[1], second = g[2];
    u[0] = second;
    u[1] = first + second;
    u[2] = first;
    u[3] = only;
  }
};

struct FourTaps {
  static constexpr int kTaps = 4, kStep = 2, kProducts = 6, kWeights = 6;
  static constexpr int kWeight[] = {0, 1, 2, 3, 4, 5};

  static void weights_at(const Wide* g, Wide* u) {
    for (int odd = 0; odd < 2; ++odd, u += 3) {
      u[0] = g[3 - odd];
      u[1] = g[1 - odd] + g[3 - odd];
      u[2] = g[1 - odd];
    }
  }
  // `first` is the first output that sees the weights at 0 to 2.
  static void to_outputs(int first, const Lanes* m, Lanes* y) {
    y[first] = m[0] + m[1];
    y[first + 2] = m[1] - m[2];
    y[1 - first] = m[3] + m[4];
    y[3 - first] = m[4] - m[5];
  }
};

// All outputs of a tile see three pixels.
template <>
struct Doubled<4, false> : FourTaps {
  static constexpr int kIn = 3, kAt = 3;
  static constexpr int kSource[] = {0, 1, 2, 0, 1, 2};
  static constexpr double kReach[] = {2, 1, 2};

  static int64_t first(int64_t output, int64_t before) { return (output + before) / 2 - 1; }
  static void to_points(const Lanes* d, Lanes* t) {
    t[0] = d[0] - d[1];
    t[1] = d[1];
    t[2] = d[1] - d[2];
  }
  static void to_outputs(const Lanes* m, Lanes* y) { FourTaps::to_outputs(1, m, y); }
};

// Every other output sees a pixel further on than those before them.
template <>
struct Doubled<4, true> : FourTaps {
  static constexpr int kIn = 4, kAt = 5;
  static constexpr int kSource[] = {0, 1, 2, 2, 3, 4};
  static constexpr double kReach[] = {2, 1, 2, 1, 2};

  static int64_t first(int64_t output, int64_t before) { return (output + before - 1) / 2 - 1; }
  static void to_points(const Lanes* d, Lanes* t) {
    t[0] = d[0] - d[1];
    t[1] = d[1];
    t[2] = d[1] - d[2];
    t[3] = d[2];
    t[4] = d[2] - d[3];
  }
  static void to_outputs(const Lanes* m, Lanes* y) { FourTaps::to_outputs(0, m, y); }
};

// f(geometry of the convolution).
template <class F>
auto with_geometry(const Convolution& c, const F& f) {
  if (!c.doubled) return f(Single{});
  const bool odd = c.top % 2 != 0;
  if (c.kH == 3) return odd ? f(Doubled<3, true>{}) : f(Doubled<3, false>{});
  return odd ? f(Doubled<4, true>{}) : f(Doubled<4, false>{});
}

// How many there are of both axes together.
struct Planes {
  int64_t source, products, weights;
};
inline Planes planes_of(const Convolution& c) {
  return with_geometry(c, [](auto geometry) {
    using G = decltype(geometry);
    return Planes{G::kAt * G::kAt, G::kProducts * G::kProducts, G::kWeights * G::kWeights};
  });
}

// Which of them a product is of.
struct Product {
  int64_t source, weights;
};
inline Product product_of(const Convolution& c, int64_t index) {
  return with_geometry(c, [index](auto geometry) {
    using G = decltype(geometry);
    const auto down = index / G::kProducts, across = index % G::kProducts;
    return Product{int64_t{G::kSource[down]} * G::kAt + G::kSource[across],
                   int64_t{G::kWeight[down]} * G::kWeights + G::kWeight[across]};
  });
}

// Both dimensions of kWide lanes: [taps, kWide] to [weights, kWide], u_step apart.
template <class G>
void filter_to_points(const double* g, float* u, int64_t u_step) {
  constexpr int kTaps = G::kTaps, kWeights = G::kWeights;
  for (int lane = 0; lane < kWide; lane += kHalf) {
    Wide half[kTaps][kWeights];  // [column, point]
    LUX_UNROLL
    for (int j = 0; j < kTaps; ++j) {
      Wide column[kTaps];
      const double* const from = g + int64_t{j} * kWide + lane;
      LUX_UNROLL
      for (int i = 0; i < kTaps; ++i) column[i] = load(from + int64_t{i} * kTaps * kWide);
      G::weights_at(column, half[j]);
    }
    LUX_UNROLL
    for (int a = 0; a < kWeights; ++a) {
      Wide row[kTaps], points[kWeights];
      LUX_UNROLL
      for (int j = 0; j < kTaps; ++j) row[j] = half[j][a];
      G::weights_at(row, points);
      LUX_UNROLL
      for (int b = 0; b < kWeights; ++b) {
        for (int m = 0; m < kHalf; ++m)
          u[(a * kWeights + b) * u_step + lane + m] = static_cast<float>(points[b][m]);
      }
    }
  }
}

}  // namespace
