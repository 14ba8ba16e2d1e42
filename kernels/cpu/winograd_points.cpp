// Winograd's convolution in f32, some tiles at a time (winograd_transforms.h has the formulas). Compiled once
// per instruction set, as tiles.cpp is.
#include "luxgrad/kernels/cpu/winograd_tiles.h"

namespace {

using lux::cpu::Winograd;

int64_t points_bytes(const Convolution& c, int64_t tiles) {
  return scratch_bytes<float>(source_points(c, tiles).size());
}
int64_t sums_bytes(const Convolution& c, int64_t tiles) {
  return scratch_bytes<float>(target_points(c, tiles).size());
}

// `kVectors` vectors of channels.
template <int64_t kVectors>
void transform_target(const Strip* strips, int64_t w, int64_t tiles, const Points& p, float* to) {
  const int64_t step = p.tile, point = p.point;
  for (int64_t tile = 0; tile < tiles; ++tile, w += kOut, to += step) {
    LUX_UNROLL_ROWS
    for (int64_t v = 0; v < kVectors; ++v) {
      Lanes half[kOut][kSide];
      LUX_UNROLL_ROWS
      for (int j = 0; j < kOut; ++j) {
        Lanes d[kOut];
        load_column<kOut>(strips[v], w + j, d);
        outputs_to_points(d, half[j]);
      }
      LUX_UNROLL_ROWS
      for (int i = 0; i < kSide; ++i) {
        Lanes d[kOut], t[kSide];
        LUX_UNROLL
        for (int j = 0; j < kOut; ++j) d[j] = half[j][i];
        outputs_to_points(d, t);
        LUX_UNROLL
        for (int j = 0; j < kSide; ++j) store<float>(to + (i * kSide + j) * point + v * kWide, t[j]);
      }
    }
  }
}

// Values of a tile at the points, as they are. Steps of its own: what it stores might be those of another's.
struct InFloats {
  float* first;
  int64_t tile, point;
  float* to = nullptr;

  void begin(int64_t index) { to = first + index * tile; }
  void operator()(int64_t, int64_t vector, int at, Lanes value) const {
    store<float>(to + at * point + vector * kWide, value);
  }
};

// Tiles whose pixels are asked for beforehand, measured on a Zen 3 (v3) and a Zen 5 (v4).
constexpr int kTilesAhead = kVectorBytes < 64 ? 1 : 2;

// Tiles of a run, `kVectors` vectors of channels from `channel` on.
template <class G, int64_t kVectors>
void run_to_points(const Convolution& c, const Run& run, int64_t channel, const Points& p, float* to,
                   float* band) {
  const int64_t room = band_floats(run.count);
  Strip strips[kVectors];
  for (int64_t v = 0; v < kVectors; ++v)
    strips[v] = strip_of(c.source, run.n, region_of<G>(c, run, channel + v * kWide), band + v * room);
  transform_source<G, kVectors, kTilesAhead>(strips, region_of<G>(c, run, channel).column, run.count,
                                             InFloats{to + run.index * p.tile + channel, p.tile, p.point});
}

void source_to_points(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                      void* points, void* scratch) {
  const Points p = source_points(c, range.count);
  float *const to = aligned<float>(points), *const band = aligned<float>(scratch);
  with_geometry(c, [&](auto geometry) {
    using G = decltype(geometry);
    each_run(c, range, [&](const Run& run) {
      int64_t ch = channels.begin;
      for (; ch + (kLine - 1) * kWide < channels.end; ch += kLine * kWide)
        run_to_points<G, kLine>(c, run, ch, p, to, band);
      for (; ch < channels.end; ch += kWide) run_to_points<G, 1>(c, run, ch, p, to, band);
    });
  });
}

template <int64_t kVectors>
void target_run_to_points(const Convolution& c, const Run& run, int64_t channel, const Points& p, float* to,
                          float* band) {
  const int64_t room = band_floats(run.count);
  Strip strips[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) {
    const int64_t first = channel + v * kWide;
    const Region region{run.row,          kOut,  run.column,
                        run.count * kOut, first, smaller(kWide, c.groups * c.width - first)};
    strips[v] = strip_of(c.target, run.n, region, band + v * room);
  }
  transform_target<kVectors>(strips, run.column, run.count, p, to + run.index * p.tile + channel);
}

void target_to_points(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                      void* points, void* scratch) {
  const Points p = target_points(c, range.count);
  float *const to = aligned<float>(points), *const band = aligned<float>(scratch);
  each_run(c, range, [&](const Run& run) {
    int64_t ch = channels.begin;
    for (; ch + (kLine - 1) * kWide < channels.end; ch += kLine * kWide)
      target_run_to_points<kLine>(c, run, ch, p, to, band);
    for (; ch < channels.end; ch += kWide) target_run_to_points<1>(c, run, ch, p, to, band);
  });
}

int64_t packed_bytes(const Convolution& c) {
  return scratch_bytes<float>(planes_of(c).weights * weight_point(c));
}

// Larger weights are written past the caches, which do not hold them until they are multiplied.
constexpr int64_t kCachedWeights = int64_t{4} << 20;
bool past_caches(const Convolution& c) { return kVectorBytes == 64 && packed_bytes(c) > kCachedWeights; }

// The weights of kWide outputs for one channel.
template <class G, bool kPast>
void pack_channel(const double* taps, float* to, int64_t point) {
  if constexpr (!kPast) return filter_to_points<G>(taps, to, point);
  constexpr int64_t kAll = int64_t{G::kWeights} * G::kWeights;
  float points[kAll * kWide];
  filter_to_points<G>(taps, points, kWide);
  for (int64_t p = 0; p < kAll; ++p) store_past_caches(to + p * point, load(points + p * kWide));
}

// Outputs [k0, k0 + lanes) of a group.
template <class G, bool kPast>
void pack_block(const Convolution& c, const Weights& w, int64_t group, int64_t k0, int64_t lanes,
                float* packed) {
  double taps[kGather * kMostTaps * kWide];
  for (int64_t k = k0; k < k0 + lanes; k += kWide) {
    for (int64_t ch = 0; ch < c.depth; ch += kGather) {
      const int64_t c0 = ch / kPass * kPass, channels = smaller(kPass, c.depth - c0);
      const int64_t count = smaller(kGather, c.depth - ch);
      gather_weights(c, w, group, k, ch, count, taps);
      float* to = packed + c0 * round_up(c.width, kWide) + channels * k0 + (ch - c0) * lanes + k - k0;
      for (int64_t m = 0; m < count; ++m, to += lanes)
        pack_channel<G, kPast>(taps + m * G::kTaps * G::kTaps * kWide, to, weight_point(c));
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
      with_geometry(c, [&](auto geometry) {
        using G = decltype(geometry);
        float* const to = aligned<float>(packed) + group * group_weights(c);
        past_caches(c) ? pack_block<G, true>(c, w, group, k, lanes, to)
                       : pack_block<G, false>(c, w, group, k, lanes, to);
      });
    }
  }
  if (past_caches(c)) end_stores_past_caches();
}

// Sums of a range that are more bytes are asked for before a block begins: the second cache level is too
// small.
constexpr int64_t kNearSums = int64_t{512} << 10;

// The vectors of a group run into the sums of the next, which is why that comes later. The next tiles are
// asked for where they follow at once.
void multiply_group(const Convolution& c, int64_t tiles, const float* xs, const Points& p,
                    const float* weights, float* ys, const Points& q) {
  const int64_t width = round_up(c.width, kWide);
  const bool far = kAsks && sums_bytes(c, tiles) > kNearSums;
  for (int64_t c0 = 0; c0 < c.depth; c0 += kPass) {
    const int64_t channels = smaller(kPass, c.depth - c0);
    int vectors = 0;
    for (int64_t k = 0; k < width; k += int64_t{vectors} * kWide) {
      vectors = next_vectors((width - k) / kWide);
      const Operand<float> w{weights + channels * k, 0, int64_t{vectors} * kWide};
      for (int64_t tile = 0; tile < tiles; tile += kSums / vectors) {
        const Operand<float> x{xs + tile * p.tile + c0, 0, 1};
        float* const to = ys + tile * q.tile + k;
        if (far) ask_for_rows(to, q.tile, kSums / vectors, vectors);
        into_sums(to, q.tile, c0 > 0, [&](const auto& y) {
          if (kAsks && p.tile == channels)
            multiply<float, kAsks>(vectors, x, p.tile, w, 1, channels, y);
          else
            multiply<float>(vectors, x, p.tile, w, 1, channels, y);
        });
      }
    }
    weights += channels * width;
  }
}

void multiply_at(const Convolution& c, const TileRange& range, int64_t index, const void* source,
                 void* sums) {
  const Product product = product_of(c, index);
  const Points p = source_points(c, range.count), q = target_points(c, range.count);
  const float* const xs = aligned<const float>(const_cast<void*>(source)) + product.source * p.point;
  float* const ys = aligned<float>(sums) + index * q.point;
  const float* const weights =
      aligned<const float>(const_cast<void*>(c.weights)) + product.weights * weight_point(c);
  for (int64_t group = 0; group < c.groups; ++group)
    multiply_group(c, range.count, xs + group * c.depth, p, weights + group * group_weights(c),
                   ys + group * c.width, q);
}

void points_to_target(const Convolution& c, const TileRange& range, const ChannelRange& channels, const void*,
                      const void* sums, void* scratch) {
  with_geometry(c, [&](auto geometry) {
    sums_to_target<decltype(geometry)>(c, range, channels, sums, Unscaled{}, scratch);
  });
}

// [points, groups, outputs filled up for the register blocks, channels filled up for the vectors]
int64_t sums_rows(const Convolution& c) { return round_up(c.width, kSums); }
int64_t sums_group(const Convolution& c) { return sums_rows(c) * round_up(c.depth, kWide); }
int64_t sums_point(const Convolution& c) { return c.groups * sums_group(c); }
int64_t weight_sums_bytes(const Convolution& c) { return bytes_of<float>(kPoints * sums_point(c)); }

void add_products(const Convolution& c, const TileRange& range, int64_t point, const void* source,
                  const void* target, void* sums) {
  const Points p = source_points(c, range.count), q = target_points(c, range.count);
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
    .products = products,
    .tile_bytes = tile_bytes<float>,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .points_bytes = points_bytes,
    .sums_bytes = sums_bytes,
    .scratch = strip_scratch,
    .measure = nullptr,
    .source_to_points = source_to_points,
    .multiply = multiply_at,
    .points_to_target = points_to_target,
    .target_to_points = target_to_points,
    .weight_sums_bytes = weight_sums_bytes,
    .add_products = add_products,
    .points_to_weights = points_to_weights,
};
}
