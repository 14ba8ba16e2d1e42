// Winograd's convolution, some tiles at a time (winograd_transforms.h has the formulas). Pixels are read
// where they stand and sums are written where they belong; only the rim of a picture, and channels that do
// not fill a vector, take the way through a band. Compiled once per instruction set, as tiles.cpp is.
#include "luxgrad/kernels/cpu/winograd_pairs.h"
#include "luxgrad/kernels/cpu/winograd_strips.h"
#include "luxgrad/kernels/cpu/winograd_transforms.h"

namespace {

using lux::cpu::Winograd;

int64_t points_bytes(int64_t tiles, int64_t groups, int64_t channels) {
  return scratch_bytes<float>(points_of(tiles, groups, channels).size());
}

// Enough for tiles of two outputs, too, which read fewer rows.
int64_t strip_scratch(const Convolution& c, const TileRange& range) {
  const int64_t run = smaller(range.count, (columns_of(c) + 1) / 2);
  return scratch_bytes<float>(kSide * (run * kOut + 2) * kWide);
}

// Two columns of a tile are the first two of the next.
void transform_source(const Strip& s, int64_t w, int64_t tiles, const Points& p, float* to) {
  Lanes half[kSide][kSide];  // [column, point]
  const auto see = [&](int j) {
    Lanes d[kSide];
    load_column<kSide>(s, w + j, d);
    source_to_points(d, half[j]);
  };
  see(0);
  see(1);
  for (int64_t tile = 0; tile < tiles; ++tile, w += kOut, to += p.tile) {
    LUX_UNROLL
    for (int j = 2; j < kSide; ++j) see(j);
    LUX_UNROLL
    for (int i = 0; i < kSide; ++i) {
      Lanes d[kSide], t[kSide];
      LUX_UNROLL
      for (int j = 0; j < kSide; ++j) d[j] = half[j][i];
      source_to_points(d, t);
      LUX_UNROLL
      for (int j = 0; j < kSide; ++j) store<float>(to + (i * kSide + j) * p.point, t[j]);
      half[0][i] = d[4];
      half[1][i] = d[5];
    }
  }
}

void transform_target(const Strip& s, int64_t w, int64_t tiles, const Points& p, float* to) {
  for (int64_t tile = 0; tile < tiles; ++tile, w += kOut, to += p.tile) {
    Lanes half[kOut][kSide];
    LUX_UNROLL
    for (int j = 0; j < kOut; ++j) {
      Lanes d[kOut];
      load_column<kOut>(s, w + j, d);
      outputs_to_points(d, half[j]);
    }
    LUX_UNROLL
    for (int i = 0; i < kSide; ++i) {
      Lanes d[kOut], t[kSide];
      LUX_UNROLL
      for (int j = 0; j < kOut; ++j) d[j] = half[j][i];
      outputs_to_points(d, t);
      LUX_UNROLL
      for (int j = 0; j < kSide; ++j) store<float>(to + (i * kSide + j) * p.point, t[j]);
    }
  }
}

void source_to_points(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                      void* points, void* scratch) {
  if (in_pairs(c)) return pairs_to_points(c, range, channels, points, scratch);
  const Points p = source_points(c, range);
  float* const to = aligned<float>(points);
  each_run(c, range, kOut, [&](const Run& run) {
    for (int64_t ch = channels.begin; ch < channels.end; ch += kWide) {
      const Region region{run.row - c.top,      kSide, run.column - c.left,
                          run.count * kOut + 2, ch,    smaller(kWide, c.groups * c.depth - ch)};
      transform_source(strip_of(c.source, run.n, region, aligned<float>(scratch)), region.column, run.count,
                       p, to + run.index * p.tile + ch);
    }
  });
}

void target_to_points(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                      void* points, void* scratch) {
  const Points p = target_points(c, range);
  float* const to = aligned<float>(points);
  each_run(c, range, kOut, [&](const Run& run) {
    for (int64_t ch = channels.begin; ch < channels.end; ch += kWide) {
      const Region region{run.row,          kOut, run.column,
                          run.count * kOut, ch,   smaller(kWide, c.groups * c.width - ch)};
      transform_target(strip_of(c.target, run.n, region, aligned<float>(scratch)), region.column, run.count,
                       p, to + run.index * p.tile + ch);
    }
  });
}

int64_t packed_bytes(const Convolution& c) {
  const int64_t points = in_pairs(c) ? weights_along(c.kH) * weights_along(c.kW) : kPoints;
  return scratch_bytes<float>(points * weight_point(c));
}

// Outputs [k, k + kWide) of channels [ch, ch + count), at most kGather: to[channel, tap, lane].
constexpr int64_t kGather = 16;  // floats of a cache line
void gather_weights(const Convolution& c, const Weights& w, int64_t group, int64_t k, int64_t ch,
                    int64_t count, double* to) {
  const float* const from = static_cast<const float*>(w.data) + group * w.group + k * w.k + ch * w.c;
  const int64_t lanes = smaller(kWide, c.width - k);
  for (int64_t i = 0; i < count * 9 * kWide; ++i) to[i] = 0;
  const auto copy_lane = [&](int64_t tap, int64_t m, int64_t lane) {
    to[(m * 9 + tap) * kWide + lane] =
        static_cast<double>(from[lane * w.k + tap / 3 * w.i + tap % 3 * w.j + m * w.c]);
  };
  // Along the cache lines of the weights.
  for (int64_t tap = 0; tap < 9; ++tap) {
    if (w.k == 1) {
      for (int64_t m = 0; m < count; ++m)
        for (int64_t lane = 0; lane < lanes; ++lane) copy_lane(tap, m, lane);
    } else {
      for (int64_t lane = 0; lane < lanes; ++lane)
        for (int64_t m = 0; m < count; ++m) copy_lane(tap, m, lane);
    }
  }
}

// Outputs [k0, k0 + lanes) of a group.
void pack_block(const Convolution& c, const Weights& w, int64_t group, int64_t k0, int64_t lanes,
                float* packed) {
  double taps[kGather * 9 * kWide];
  for (int64_t k = k0; k < k0 + lanes; k += kWide) {
    for (int64_t ch = 0; ch < c.depth; ch += kGather) {
      const int64_t c0 = ch / kPass * kPass, channels = smaller(kPass, c.depth - c0);
      const int64_t count = smaller(kGather, c.depth - ch);
      gather_weights(c, w, group, k, ch, count, taps);
      float* to = packed + c0 * round_up(c.width, kWide) + channels * k0 + (ch - c0) * lanes + k - k0;
      for (int64_t m = 0; m < count; ++m, to += lanes)
        filter_to_points(taps + m * 9 * kWide, to, weight_point(c));
    }
  }
}

// For each point, each group, each pass over the channels, each register block: [channels, lanes].
void pack(const Convolution& c, const Weights& w, int64_t slice, int64_t slices, void* packed) {
  const int64_t width = round_up(c.width, kWide);
  int64_t block = 0;
  for (int64_t group = 0; group < c.groups; ++group) {
    int64_t lanes = 0;
    for (int64_t k = 0; k < width; k += lanes, ++block) {
      lanes = int64_t{next_vectors((width - k) / kWide)} * kWide;
      if (block % slices != slice) continue;
      if (in_pairs(c))
        pack_pairs(c, w, k, lanes, aligned<float>(packed));
      else
        pack_block(c, w, group, k, lanes, aligned<float>(packed) + group * group_weights(c));
    }
  }
}

// The vectors of a group run into the sums of the next, which is why that comes later.
void multiply_group(const Convolution& c, int64_t tiles, const float* xs, const Points& p,
                    const float* weights, float* ys, const Points& q) {
  const int64_t width = round_up(c.width, kWide);
  for (int64_t c0 = 0; c0 < c.depth; c0 += kPass) {
    const int64_t channels = smaller(kPass, c.depth - c0);
    int vectors = 0;
    for (int64_t k = 0; k < width; k += int64_t{vectors} * kWide) {
      vectors = next_vectors((width - k) / kWide);
      const Operand<float> w{weights + channels * k, 0, int64_t{vectors} * kWide};
      for (int64_t tile = 0; tile < tiles; tile += kSums / vectors)
        into_sums(ys + tile * q.tile + k, q.tile, c0 > 0, [&](const auto& y) {
          multiply<float>(vectors, {xs + tile * p.tile + c0, 0, 1}, p.tile, w, 1, channels, y);
        });
    }
    weights += channels * width;
  }
}

void multiply_point(const Convolution& c, const TileRange& range, int64_t point, const void* source,
                    void* sums) {
  const Points p = source_points(c, range), q = target_points(c, range);
  const float* const xs = aligned<const float>(const_cast<void*>(source)) + point * p.point;
  float* const ys = aligned<float>(sums) + point * q.point;
  int64_t weights_at = point;
  if (in_pairs(c)) {
    const int64_t a = point / points_along(c.kW), b = point % points_along(c.kW);
    weights_at = (c.kH == kPair ? a : 0) * weights_along(c.kW) + (c.kW == kPair ? b : 0);
  }
  const float* const weights =
      aligned<const float>(const_cast<void*>(c.weights)) + weights_at * weight_point(c);
  for (int64_t group = 0; group < c.groups; ++group)
    multiply_group(c, range.count, xs + group * c.depth, p, weights + group * group_weights(c),
                   ys + group * c.width, q);
}

// y[4, 4] of one tile, from the points.
inline void transform_sums(const float* from, int64_t point, Lanes (&y)[kOut][kOut]) {
  Lanes half[kSide][kOut];  // [column, row]
  LUX_UNROLL
  for (int j = 0; j < kSide; ++j) {
    Lanes m[kSide];
    LUX_UNROLL
    for (int i = 0; i < kSide; ++i) m[i] = load(from + (i * kSide + j) * point);
    points_to_outputs(m, half[j]);
  }
  LUX_UNROLL
  for (int i = 0; i < kOut; ++i) {
    Lanes m[kSide];
    LUX_UNROLL
    for (int j = 0; j < kSide; ++j) m[j] = half[j][i];
    points_to_outputs(m, y[i]);
  }
}

template <Activation kActivation>
inline Lanes activated(Lanes x, [[maybe_unused]] float slope) {
  if constexpr (kActivation == Activation::relu) return x < Lanes{} ? Lanes{} : x;
  if constexpr (kActivation == Activation::leaky_relu) return x < Lanes{} ? x * slope : x;
  return x;
}

// Full vectors of channels [k, end), which stand at `to` for the first pixel of the run.
template <Activation kActivation>
void store_run(const Convolution& c, const Run& run, int64_t k, int64_t end, const float* from,
               const Points& p, float* to, int64_t pixel) {
  const float* const bias = static_cast<const float*>(c.bias);
  const auto slope = static_cast<float>(c.slope);
  const int64_t rows = smaller(kOut, c.target.H - run.row);
  for (int64_t tile = 0; tile < run.count; ++tile, from += p.tile, to += kOut * pixel) {
    const int64_t columns = smaller(kOut, c.target.W - run.column - tile * kOut);
    for (int64_t channel = k; channel < end; channel += kWide) {
      Lanes y[kOut][kOut];
      transform_sums(from + channel, p.point, y);
      const Lanes shift = bias == nullptr ? Lanes{} : load(bias + channel);
      LUX_UNROLL
      for (int i = 0; i < kOut; ++i) {
        if (i >= rows) break;
        float* const row = to + i * c.target.W * pixel + channel - k;
        LUX_UNROLL
        for (int j = 0; j < kOut; ++j) {
          if (j < columns) store<float>(row + j * pixel, activated<kActivation>(y[i][j] + shift, slope));
        }
      }
    }
  }
}

// Up to a vector of channels, through a band.
void store_tail(const Convolution& c, const Run& run, int64_t k, int64_t end, const float* from,
                const Points& p, float* band) {
  const int64_t row = run.count * kOut * kWide;
  for (int64_t tile = 0; tile < run.count; ++tile) {
    Lanes y[kOut][kOut];
    transform_sums(from + tile * p.tile + k, p.point, y);
    for (int i = 0; i < kOut; ++i) {
      for (int j = 0; j < kOut; ++j) store<float>(band + i * row + (tile * kOut + j) * kWide, y[i][j]);
    }
  }
  const Tile tile{run.n,      0,
                  run.row,    smaller(kOut, c.target.H - run.row),
                  run.column, smaller(run.count * kOut, c.target.W - run.column)};
  store_tile<float>(c, tile, k, end - k, band, row, kWide);
}

void points_to_target(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                      const void* sums, void* scratch) {
  if (in_pairs(c)) return points_to_pairs(c, range, channels, sums, scratch);
  const auto activation = static_cast<Activation>(c.activation);
  const bool in_vectors = activation != Activation::sigmoid && activation != Activation::tanh;
  const auto run_stores = activation == Activation::relu         ? store_run<Activation::relu>
                          : activation == Activation::leaky_relu ? store_run<Activation::leaky_relu>
                                                                 : store_run<Activation::none>;
  const Points p = target_points(c, range);
  each_run(c, range, kOut, [&](const Run& run) {
    const float* const from = aligned<const float>(const_cast<void*>(sums)) + run.index * p.tile;
    int64_t first = 0;
    for (const auto* part = c.target.parts; part < c.target.parts + c.target.count;
         first += part++->channels) {
      int64_t k = larger(channels.begin, first);
      const int64_t end = smaller(channels.end, first + part->channels);
      if (end <= k || part->data == nullptr) continue;
      if (const int64_t full = k + (end - k) / kWide * kWide; in_vectors && full > k) {
        float* const to = static_cast<float*>(part->data) +
                          ((run.n * c.target.H + run.row) * c.target.W + run.column) * part->channels + k -
                          first;
        run_stores(c, run, k, full, from, p, to, part->channels);
        k = full;
      }
      for (; k < end; k += kWide)
        store_tail(c, run, k, smaller(end, k + kWide), from, p, aligned<float>(scratch));
    }
  });
}

// [points, groups, outputs filled up for the register blocks, channels filled up for the vectors]
int64_t sums_rows(const Convolution& c) { return round_up(c.width, kSums); }
int64_t sums_group(const Convolution& c) { return sums_rows(c) * round_up(c.depth, kWide); }
int64_t sums_point(const Convolution& c) { return c.groups * sums_group(c); }
int64_t weight_sums_bytes(const Convolution& c) { return bytes_of<float>(kPoints * sums_point(c)); }

void add_products(const Convolution& c, const TileRange& range, int64_t point, const void* source,
                  const void* target, void* sums) {
  const Points p = source_points(c, range), q = target_points(c, range);
  const float* xs = aligned<const float>(const_cast<void*>(source)) + point * p.point;
  const float* gs = aligned<const float>(const_cast<void*>(target)) + point * q.point;
  const int64_t depth = round_up(c.depth, kWide);
  float* to = static_cast<float*>(sums) + point * sums_point(c);
  for (int64_t group = 0; group < c.groups; ++group, xs += c.depth, gs += c.width, to += sums_group(c)) {
    int vectors = 0;
    for (int64_t ch = 0; ch < depth; ch += int64_t{vectors} * kWide) {
      const int64_t left = (depth - ch) / kWide;
      vectors = left >= 3 ? 3 : static_cast<int>(left);
      for (int64_t k = 0; k < c.width; k += kSums / vectors)
        multiply<float>(vectors, {gs + k, 0, q.tile}, 1, {xs + ch, 0, p.tile}, 1, range.count,
                        Sums<float, true>{to + k * depth + ch, depth});
    }
  }
}

void points_to_weights(const Convolution& c, const ChannelRange& k, const void* sums, int64_t shares,
                       float* gw) {
  const int64_t depth = round_up(c.depth, kWide);
  for (int64_t row = k.begin; row < k.end; ++row) {
    const int64_t place = row / c.width * sums_group(c) + row % c.width * depth;
    for (int64_t ch = 0; ch < c.depth; ch += kWide) {
      double u[kPoints * kWide] = {};
      for (int64_t share = 0; share < shares; ++share) {
        const float* const from =
            static_cast<const float*>(sums) + share * kPoints * sums_point(c) + place + ch;
        for (int point = 0; point < kPoints; ++point) {
          for (int lane = 0; lane < kWide; ++lane)
            u[point * kWide + lane] += static_cast<double>(from[point * sums_point(c) + lane]);
        }
      }
      float g[9 * kWide];
      points_to_filter(u, g);
      for (int64_t tap = 0; tap < 9; ++tap) {
        for (int64_t lane = 0; lane < smaller(kWide, c.depth - ch); ++lane)
          gw[(row * 9 + tap) * c.depth + ch + lane] = g[tap * kWide + lane];
      }
    }
  }
}

}  // namespace

extern "C" {
extern const Winograd LUX_JOIN(lux_winograd_, LUX_ISA);
const Winograd LUX_JOIN(lux_winograd_, LUX_ISA) = {
    .packed_bytes = packed_bytes,
    .pack = pack,
    .points_bytes = points_bytes,
    .scratch = strip_scratch,
    .source_to_points = source_to_points,
    .multiply = multiply_point,
    .points_to_target = points_to_target,
    .target_to_points = target_to_points,
    .weight_sums_bytes = weight_sums_bytes,
    .add_products = add_products,
    .points_to_weights = points_to_weights,
};
}
