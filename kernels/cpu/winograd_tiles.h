// Winograd's way of a tile to its points and of the sums back, whatever the numbers are stored as between
// the two. Pixels are read where they stand and sums are written where they belong; only the rim of a
// picture, and channels that do not fill a vector, take the way through a band. Included by the files that
// are compiled once per instruction set.
#pragma once

#include "luxgrad/kernels/cpu/winograd_strips.h"

namespace {

inline int64_t products(const Convolution& c) { return planes_of(c).products; }

// What a tile takes at the points, with pixels of type T.
template <class T>
int64_t tile_bytes(const Convolution& c) {
  const Planes planes = planes_of(c);
  return c.groups * (planes.source * bytes_of<T>(c.depth) + planes.products * bytes_of<float>(c.width));
}

// Vectors of a cache line, which are carried to the points together: a line would come and go for each of
// them.
constexpr int64_t kLine = 64 / kVectorBytes;

// Where a vector of a run's pixels is copied to, if it has to be.
inline int64_t band_floats(int64_t tiles) { return kSide * (tiles * kOut + 2) * kWide; }
inline int64_t strip_scratch(const Convolution& c, const TileRange& range) {
  return scratch_bytes<float>(kLine * band_floats(smaller(range.count, (c.target.W + kOut - 1) / kOut)));
}

// The pixels that the tiles of a run see, a vector of channels from `channel` on.
template <class G>
Region region_of(const Convolution& c, const Run& run, int64_t channel) {
  const int64_t row = G::first(run.row, c.top), column = G::first(run.column, c.left), rows = G::kIn,
                columns = (run.count - 1) * G::kStep + rows;
  return {row, rows, column, columns, channel, smaller(kWide, c.groups * c.depth - channel)};
}

// The pixels of a column are asked for: those of a map seldom are in the second cache level.
template <int kRows>
inline void ask_for_column(const Strip& s, int64_t w) {
  const float* const from = s.data + (w - s.begin) * s.pixel;
  LUX_UNROLL
  for (int i = 0; i < kRows; ++i) __builtin_prefetch(from + i * s.row);
}

// For each tile keep.begin(tile), then keep(tile, vector, point, value), for `kVectors` vectors of channels
// of one cache line. The last columns of a tile are the first of the next. kAhead: tiles that are asked for
// beforehand.
template <class G, int64_t kVectors, int kAhead, class Keep>
void transform_source(const Strip* strips, int64_t w, int64_t tiles, Keep keep) {
  constexpr int kShared = G::kIn - G::kStep;
  Lanes half[kVectors][G::kIn][G::kAt];  // [vector, column, point]
  const auto see = [&](int64_t v, int j) {
    Lanes d[G::kIn];
    load_column<G::kIn>(strips[v], w + j, d);
    if (kAhead > 0 && v == 0) ask_for_column<G::kIn>(strips[v], w + j + int64_t{kAhead} * G::kStep);
    G::to_points(d, half[v][j]);
  };
  LUX_UNROLL
  for (int64_t v = 0; v < kVectors; ++v) {
    LUX_UNROLL
    for (int j = 0; j < kShared; ++j) see(v, j);
  }
  for (int64_t tile = 0; tile < tiles; ++tile, w += G::kStep) {
    keep.begin(tile);
    LUX_UNROLL_ROWS
    for (int64_t v = 0; v < kVectors; ++v) {
      LUX_UNROLL_ROWS
      for (int j = kShared; j < G::kIn; ++j) see(v, j);
      LUX_UNROLL_ROWS
      for (int i = 0; i < G::kAt; ++i) {
        Lanes d[G::kIn], t[G::kAt];
        LUX_UNROLL
        for (int j = 0; j < G::kIn; ++j) d[j] = half[v][j][i];
        G::to_points(d, t);
        LUX_UNROLL
        for (int j = 0; j < G::kAt; ++j) keep(tile, v, i * G::kAt + j, t[j]);
        LUX_UNROLL
        for (int j = 0; j < kShared; ++j) half[v][j][i] = d[j + G::kStep];
      }
    }
  }
}

// y[4, 4] of one tile, from the products.
template <class G>
void transform_sums(const float* from, int64_t point, Lanes (&y)[kOut][kOut]) {
  Lanes half[G::kProducts][kOut];  // [column, row]
  LUX_UNROLL
  for (int j = 0; j < G::kProducts; ++j) {
    Lanes m[G::kProducts];
    LUX_UNROLL
    for (int i = 0; i < G::kProducts; ++i) m[i] = load(from + (i * G::kProducts + j) * point);
    G::to_outputs(m, half[j]);
  }
  LUX_UNROLL
  for (int i = 0; i < kOut; ++i) {
    Lanes m[G::kProducts];
    LUX_UNROLL
    for (int j = 0; j < G::kProducts; ++j) m[j] = half[j][i];
    G::to_outputs(m, y[i]);
  }
}

template <Activation kActivation>
inline Lanes activated(Lanes x, [[maybe_unused]] float slope) {
  if constexpr (kActivation == Activation::relu) return x < Lanes{} ? Lanes{} : x;
  if constexpr (kActivation == Activation::leaky_relu) return x < Lanes{} ? x * slope : x;
  return x;
}

// Sums as they are. Other sums have a factor for each tile: scaled(tile, y, shift) = y · factor + shift.
struct Unscaled {
  Lanes operator()(int64_t, Lanes y, Lanes shift) const { return y + shift; }
  Lanes operator()(int64_t, Lanes y) const { return y; }
};

// Full vectors of channels [k, end), which stand at `to` for the first pixel of the run.
template <class G, Activation kActivation, class Scaled>
void store_run(const Convolution& c, const Run& run, int64_t k, int64_t end, const float* from,
               const Points& p, const Scaled& scaled, float* to, const float* skip, int64_t pixel) {
  const float* const bias = static_cast<const float*>(c.bias);
  const auto slope = static_cast<float>(c.slope);
  const int64_t rows = smaller(kOut, c.target.H - run.row);
  const float* const first = to;
  for (int64_t tile = 0; tile < run.count; ++tile, from += p.tile, to += kOut * pixel) {
    const int64_t columns = smaller(kOut, c.target.W - run.column - tile * kOut);
    for (int64_t channel = k; channel < end; channel += kWide) {
      Lanes y[kOut][kOut];
      transform_sums<G>(from + channel, p.point, y);
      const Lanes shift = bias == nullptr ? Lanes{} : load(bias + channel);
      LUX_UNROLL
      for (int i = 0; i < kOut; ++i) {
        if (i >= rows) break;
        float* const row = to + i * c.target.W * pixel + channel - k;
        LUX_UNROLL
        for (int j = 0; j < kOut; ++j) {
          if (j >= columns) continue;
          const Lanes value = activated<kActivation>(scaled(run.index + tile, y[i][j], shift), slope);
          float* const place = row + j * pixel;
          store<float>(place, skip == nullptr ? value : value + load(skip + (place - first)));
        }
      }
    }
  }
}

// Up to a vector of channels, through a band.
template <class G, class Scaled>
void store_tail(const Convolution& c, const Run& run, int64_t k, int64_t end, const float* from,
                const Points& p, const Scaled& scaled, float* band) {
  const int64_t row = run.count * kOut * kWide;
  for (int64_t tile = 0; tile < run.count; ++tile) {
    Lanes y[kOut][kOut];
    transform_sums<G>(from + tile * p.tile + k, p.point, y);
    for (int i = 0; i < kOut; ++i) {
      for (int j = 0; j < kOut; ++j)
        store<float>(band + i * row + (tile * kOut + j) * kWide, scaled(run.index + tile, y[i][j]));
    }
  }
  const Tile tile{run.n,      0,
                  run.row,    smaller(kOut, c.target.H - run.row),
                  run.column, smaller(run.count * kOut, c.target.W - run.column)};
  store_tile<float>(c, tile, k, end - k, band, row, kWide);
}

template <class G, class Scaled>
void sums_to_target(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                    const void* sums, const Scaled& scaled, void* scratch) {
  const auto activation = static_cast<Activation>(c.activation);
  const bool in_vectors = activation != Activation::sigmoid && activation != Activation::tanh;
  const auto run_stores = activation == Activation::relu ? store_run<G, Activation::relu, Scaled>
                          : activation == Activation::leaky_relu
                              ? store_run<G, Activation::leaky_relu, Scaled>
                              : store_run<G, Activation::none, Scaled>;
  const Points p = target_points(c, range.count);
  each_run(c, range, [&](const Run& run) {
    const float* const from = aligned<const float>(const_cast<void*>(sums)) + run.index * p.tile;
    int64_t first = 0;
    for (const auto* part = c.target.parts; part < c.target.parts + c.target.count;
         first += part++->channels) {
      int64_t k = larger(channels.begin, first);
      const int64_t end = smaller(channels.end, first + part->channels);
      if (end <= k || part->data == nullptr) continue;
      if (const int64_t full = k + (end - k) / kWide * kWide; in_vectors && full > k) {
        const int64_t place =
            ((run.n * c.target.H + run.row) * c.target.W + run.column) * part->channels + k - first;
        const float* const skip = c.skip == nullptr ? nullptr : static_cast<const float*>(c.skip) + place;
        run_stores(c, run, k, full, from, p, scaled, static_cast<float*>(part->data) + place, skip,
                   part->channels);
        k = full;
      }
      for (; k < end; k += kWide)
        store_tail<G>(c, run, k, smaller(end, k + kWide), from, p, scaled, aligned<float>(scratch));
    }
  });
}

// Outputs [k, k + kWide) of channels [ch, ch + count), at most kGather: to[channel, tap, lane].
constexpr int64_t kGather = 16;  // floats of a cache line
constexpr int64_t kMostTaps = 16;
inline void gather_weights(const Convolution& c, const Weights& w, int64_t group, int64_t k, int64_t ch,
                           int64_t count, double* to) {
  const float* const from = static_cast<const float*>(w.data) + group * w.group + k * w.k + ch * w.c;
  const int64_t lanes = smaller(kWide, c.width - k), taps = c.kH * c.kW;
  for (int64_t i = 0; i < count * taps * kWide; ++i) to[i] = 0;
  const auto place = [&](int64_t tap, int64_t m, int64_t lane) {
    return from + lane * w.k + tap / c.kW * w.i + tap % c.kW * w.j + m * w.c;
  };
  const auto copy_lane = [&](int64_t tap, int64_t m, int64_t lane) {
    to[(m * taps + tap) * kWide + lane] = static_cast<double>(*place(tap, m, lane));
  };
  // Along the cache lines of the weights, none of which is beside the one before: those of the next channels
  // are asked for.
  for (int64_t tap = 0; tap < taps; ++tap) {
    if (w.k == 1) {
      for (int64_t m = 0; m < count; ++m) {
        __builtin_prefetch(place(tap, m + kGather, 0));
        for (int64_t lane = 0; lane < lanes; ++lane) copy_lane(tap, m, lane);
      }
    } else {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        __builtin_prefetch(place(tap, kGather, lane));
        for (int64_t m = 0; m < count; ++m) copy_lane(tap, m, lane);
      }
    }
  }
}

}  // namespace
