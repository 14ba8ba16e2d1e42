// What the Winograd kernels share: tiles in runs along a row of the picture, pixels in strips that are read
// where they stand, and how channels and weights are laid out at the points. Included by the files that are
// compiled once per instruction set.
#pragma once

#include "luxgrad/kernels/cpu/band.h"
#include "luxgrad/kernels/cpu/winograd_geometry.h"

namespace {

using lux::cpu::ChannelRange;
using lux::cpu::TileRange;
using lux::cpu::Weights;

// Channels per pass: the weights of a register block stay in the first cache level.
constexpr int64_t kPass = 256;

// Channels of some tiles at the points: [plane, tile, channel]. A register block may run over the last tile.
struct Points {
  int64_t planes, tile, point;  // elements from one tile to the next, and from one plane to the next

  // Groups of channels stand one behind another; the vectors of the last run over its end.
  Points(int64_t planes, int64_t tiles, int64_t groups, int64_t channels)
      : planes(planes),
        tile(round_up((groups - 1) * channels + round_up(channels, kWide), kWide)),
        point(round_up(tiles, kSums) * tile + 16) {}  // not a power of two: planes would share cache lines
  int64_t size() const { return planes * point + int64_t{4} * kSums; }
};

inline Points source_points(const Convolution& c, int64_t tiles) {
  return {planes_of(c).source, tiles, c.groups, c.depth};
}
inline Points target_points(const Convolution& c, int64_t tiles) {
  return {planes_of(c).products, tiles, c.groups, c.width};
}

// Tiles next to each other: `count` from column `column` on, the first of which is tile `index` of the range.
struct Run {
  int64_t n, row, column, count, index;
};

template <class F>
void each_run(const Convolution& c, const TileRange& range, const F& f) {
  const int64_t across = (c.target.W + kOut - 1) / kOut, down = (c.target.H + kOut - 1) / kOut;
  int64_t count = 0;
  for (int64_t index = 0; index < range.count; index += count) {
    const int64_t tile = range.first + index, x = tile % across;
    count = smaller(across - x, range.count - index);
    f(Run{tile / across / down, tile / across % down * kOut, x * kOut, count, index});
  }
}

// Rows of pixels: row r, column w stands at data + r·row + (w - begin)·pixel; other columns are zeros.
struct Strip {
  const float* data;
  int64_t row, pixel, begin, end;
};

inline Strip strip_of(const Pictures& x, int64_t n, const Region& region, float* band) {
  const bool inside = region.row >= 0 && region.row + region.rows <= x.H;
  int64_t first = 0;
  for (const auto* part = x.parts; inside && part < x.parts + x.count; first += part++->channels) {
    if (region.channel < first || region.channel + kWide > first + part->channels) continue;
    const int64_t begin = larger(region.column, 0), end = smaller(region.column + region.columns, x.W);
    return {static_cast<const float*>(part->data) + ((n * x.H + region.row) * x.W + begin) * part->channels +
                region.channel - first,
            x.W * part->channels, part->channels, begin, end};
  }
  load_band<float>(x, n, region, band, kWide);
  return {band, region.columns * kWide, kWide, region.column, region.column + region.columns};
}

template <int kRows>
inline void load_column(const Strip& s, int64_t w, Lanes* d) {
  const bool inside = w >= s.begin && w < s.end;
  const float* const from = s.data + (inside ? (w - s.begin) * s.pixel : 0);
  LUX_UNROLL
  for (int i = 0; i < kRows; ++i) d[i] = inside ? load(from + i * s.row) : Lanes{};
}

// Elements of the weights of a group at one point.
inline int64_t group_weights(const Convolution& c) { return c.depth * round_up(c.width, kWide); }
// Weights of one point, and a bit more, so that points do not share cache lines.
inline int64_t weight_point(const Convolution& c) { return c.groups * group_weights(c) + 16; }

}  // namespace
