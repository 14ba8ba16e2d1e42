// Windows of one or two taps along an axis, which the phases of a transposed convolution with a stride of 2
// are, with two outputs of each: d0·w0 + d1·w1 and d1·w0 + d2·w1 take three products, (d0 - d1)·w0,
// d1·(w0 + w1) and (d1 - d2)·w1, instead of four. One tap has nothing to save: its points are the pixels.
// Included by winograd_points.cpp only.
#pragma once

#include <utility>

#include "luxgrad/kernels/cpu/winograd_strips.h"

namespace {

constexpr int kPair = 2;

inline bool in_pairs(const Convolution& c) { return c.kH <= kPair && c.kW <= kPair; }

// Points along an axis, as many as a tile reads pixels.
inline int64_t points_along(int64_t taps) { return taps == kPair ? 3 : 2; }
// Points with weights of their own.
inline int64_t weights_along(int64_t taps) { return taps == kPair ? 3 : 1; }

template <int N>
inline void pair_to_points(Lanes* d) {
  if constexpr (N == 3) {
    d[0] = d[0] - d[1];
    d[2] = d[1] - d[2];
  }
}
template <int N>
inline void points_to_pair(Lanes* m) {
  if constexpr (N == 3) {
    m[0] = m[0] + m[1];
    m[1] = m[1] - m[2];
  }
}

// f(points down, points across), as constants.
template <class F>
void with_points(const Convolution& c, const F& f) {
  using Two = std::integral_constant<int, 2>;
  using Three = std::integral_constant<int, 3>;
  if (c.kH == kPair && c.kW == kPair) return f(Three{}, Three{});
  if (c.kH == kPair) return f(Three{}, Two{});
  if (c.kW == kPair) return f(Two{}, Three{});
  f(Two{}, Two{});
}

template <int kDown, int kAcross>
void transform_pairs(const Strip& s, int64_t w, int64_t tiles, const Points& p, float* to) {
  for (int64_t tile = 0; tile < tiles; ++tile, w += kPair, to += p.tile) {
    Lanes half[kAcross][kDown];
    LUX_UNROLL
    for (int j = 0; j < kAcross; ++j) {
      load_column<kDown>(s, w + j, half[j]);
      pair_to_points<kDown>(half[j]);
    }
    LUX_UNROLL
    for (int i = 0; i < kDown; ++i) {
      Lanes t[kAcross];
      LUX_UNROLL
      for (int j = 0; j < kAcross; ++j) t[j] = half[j][i];
      pair_to_points<kAcross>(t);
      LUX_UNROLL
      for (int j = 0; j < kAcross; ++j) store<float>(to + (i * kAcross + j) * p.point, t[j]);
    }
  }
}

template <int kDown, int kAcross>
inline void transform_pair_sums(const float* from, int64_t point, Lanes (&y)[kPair][kPair]) {
  Lanes half[kAcross][kDown];
  LUX_UNROLL
  for (int j = 0; j < kAcross; ++j) {
    LUX_UNROLL
    for (int i = 0; i < kDown; ++i) half[j][i] = load(from + (i * kAcross + j) * point);
    points_to_pair<kDown>(half[j]);
  }
  LUX_UNROLL
  for (int i = 0; i < kPair; ++i) {
    Lanes m[kAcross];
    LUX_UNROLL
    for (int j = 0; j < kAcross; ++j) m[j] = half[j][i];
    points_to_pair<kAcross>(m);
    LUX_UNROLL
    for (int j = 0; j < kPair; ++j) y[i][j] = m[j];
  }
}

inline void pairs_to_points(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                            void* points, void* scratch) {
  const Points p = source_points(c, range);
  float* const to = aligned<float>(points);
  with_points(c, [&](auto down, auto across) {
    each_run(c, range, kPair, [&](const Run& run) {
      for (int64_t ch = channels.begin; ch < channels.end; ch += kWide) {
        const Region region{run.row - c.top,
                            down,
                            run.column - c.left,
                            (run.count - 1) * kPair + across,
                            ch,
                            smaller(kWide, c.depth - ch)};
        transform_pairs<down, across>(strip_of(c.source, run.n, region, aligned<float>(scratch)),
                                      region.column, run.count, p, to + run.index * p.tile + ch);
      }
    });
  });
}

// A vector of channels from k on: in place where a part of the target has all of them.
template <int kDown, int kAcross>
void store_pairs(const Convolution& c, const Run& run, int64_t k, const float* from, const Points& p,
                 float* band) {
  const int64_t rows = smaller(kPair, rows_of(c) - run.row), columns = columns_of(c) - run.column;
  const bool leaky = c.activation == static_cast<uint8_t>(Activation::leaky_relu);
  const bool in_vectors = leaky || c.activation == static_cast<uint8_t>(Activation::none);
  const auto slope = static_cast<float>(c.slope);
  int64_t first = 0;
  for (const auto* part = c.target.parts; part < c.target.parts + c.target.count; first += part++->channels) {
    if (!in_vectors || k < first || k + kWide > first + part->channels) continue;
    if (part->data == nullptr) return;
    const int64_t pixel = part->channels * c.step, row = pixel * c.target.W;
    float* const to = static_cast<float*>(part->data) + run.row * row + run.column * pixel + k - first +
                      ((run.n * c.target.H + c.row) * c.target.W + c.column) * part->channels;
    for (int64_t tile = 0; tile < run.count; ++tile) {
      Lanes y[kPair][kPair];
      transform_pair_sums<kDown, kAcross>(from + tile * p.tile, p.point, y);
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < smaller(kPair, columns - tile * kPair); ++j) {
          Lanes value = y[i][j];
          if (leaky) value = value < Lanes{} ? value * slope : value;
          store<float>(to + i * row + (tile * kPair + j) * pixel, value);
        }
      }
    }
    return;
  }
  const int64_t row = run.count * kPair * kWide;
  for (int64_t tile = 0; tile < run.count; ++tile) {
    Lanes y[kPair][kPair];
    transform_pair_sums<kDown, kAcross>(from + tile * p.tile, p.point, y);
    for (int i = 0; i < kPair; ++i) {
      for (int j = 0; j < kPair; ++j) store<float>(band + i * row + (tile * kPair + j) * kWide, y[i][j]);
    }
  }
  const Tile tile{run.n, 0, run.row, rows, run.column, smaller(run.count * kPair, columns)};
  store_tile<float>(c, tile, k, smaller(kWide, c.width - k), band, row, kWide);
}

inline void points_to_pairs(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                            const void* sums, void* scratch) {
  const Points p = target_points(c, range);
  const float* const from = aligned<const float>(const_cast<void*>(sums));
  with_points(c, [&](auto down, auto across) {
    each_run(c, range, kPair, [&](const Run& run) {
      for (int64_t k = channels.begin; k < channels.end; k += kWide)
        store_pairs<down, across>(c, run, k, from + run.index * p.tile + k, p, aligned<float>(scratch));
    });
  });
}

// The taps that a point along an axis adds up: the first, both, the second.
struct Taps {
  int64_t begin, end;

  Taps(int64_t taps, int64_t point)
      : begin(point == 2 ? 1 : 0), end(taps == kPair && point > 0 ? kPair : 1) {}
};

// Outputs [k0, k0 + lanes), in the order of pack_block.
inline void pack_pairs(const Convolution& c, const Weights& w, int64_t k0, int64_t lanes, float* packed) {
  constexpr int64_t kMost = int64_t{3} * kWide;
  const float* const from = static_cast<const float*>(w.data) + k0 * w.k;
  const int64_t down = weights_along(c.kH), across = weights_along(c.kW),
                given = smaller(lanes, c.width - k0);
  float taps[kPair][kPair][kMost] = {};
  for (int64_t ch = 0; ch < c.depth; ++ch) {
    for (int64_t i = 0; i < c.kH; ++i) {
      for (int64_t j = 0; j < c.kW; ++j) {
        for (int64_t k = 0; k < given; ++k) taps[i][j][k] = from[k * w.k + i * w.i + j * w.j + ch * w.c];
      }
    }
    const int64_t c0 = ch / kPass * kPass, channels = smaller(kPass, c.depth - c0);
    float* to = packed + c0 * round_up(c.width, kWide) + channels * k0 + (ch - c0) * lanes;
    for (int64_t point = 0; point < down * across; ++point, to += weight_point(c)) {
      const Taps is(c.kH, point / across), js(c.kW, point % across);
      float sums[kMost] = {};
      for (int64_t i = is.begin; i < is.end; ++i) {
        for (int64_t j = js.begin; j < js.end; ++j) {
          for (int64_t k = 0; k < kMost; ++k) sums[k] += taps[i][j][k];
        }
      }
      for (int64_t k = 0; k < lanes; ++k) to[k] = sums[k];
    }
  }
}

}  // namespace
