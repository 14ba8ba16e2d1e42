// Sums in two stages, in an order that depends on shapes only: threads, then a tree or a row of the block, then
// the partial sums of all blocks by another kernel. Nothing is added by atomics.
#pragma once

#include "luxgrad/kernels/cuda/launch.cuh"

namespace lux::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kWarps = kThreads / kWarp;

/// The sums over the threads of a block, for all of them. All threads call it.
template <int n>
LUX_DEVICE void block_sum(float (&values)[n]) {
  LUX_SHARED Shared<float, n * kWarps> of_warps;
  const int lane = thread_index() % kWarp, warp = thread_index() / kWarp;
  LUX_UNROLL
  for (int k = 0; k < n; ++k) {
    LUX_UNROLL
    for (int mask = kWarp / 2; mask > 0; mask /= 2) values[k] += shuffle_xor(values[k], mask);
    if (lane == 0) of_warps[k * kWarps + warp] = values[k];
  }
  sync_threads();
  LUX_UNROLL
  for (int k = 0; k < n; ++k) {
    values[k] = of_warps[k * kWarps];
    for (int w = 1; w < kWarps; ++w) values[k] += of_warps[k * kWarps + w];
  }
  sync_threads();  // before the next sum writes here
}

/// How sums over pixels, for every channel, are divided: a block adds up a slab of the pixels of one group (a
/// picture, or the whole batch), for a tile of channels.
struct Slabs {
  int64_t groups, pixels, C;  // pixels of a group
  int packs;                  // threads side by side on the channels of a pixel, `lanes` channels each
  int64_t tiles, slab, slabs;  // tiles of channels; pixels of a slab; slabs of a group

  static Slabs of(int64_t groups, int64_t pixels, int64_t C, int lanes) {
    constexpr int64_t kElements = 16384;  // of a slab, about
    const int64_t wide = (C + lanes - 1) / lanes;
    const int packs = static_cast<int>(wide < kThreads ? wide : kThreads);
    const int64_t rows = kThreads / packs;
    const int64_t slab = (kElements / C + rows - 1) / rows * rows;
    const int64_t size = slab < rows ? rows : slab;
    return {groups, pixels, C, packs, (wide + packs - 1) / packs, size, (pixels + size - 1) / size};
  }
  int64_t blocks() const { return groups * slabs * tiles; }
};

/// What a thread of `Slabs` works on.
struct Place {
  int64_t group, slab, first_channel;  // of the block's tile
  int pack, row, rows;

  LUX_DEVICE static Place of(const Slabs& s, int lanes) {
    const int64_t block = block_index(), tile = block % s.tiles;
    return {block / s.tiles / s.slabs,       block / s.tiles % s.slabs, tile * s.packs * lanes,
            thread_index() % s.packs,        thread_index() / s.packs,  kThreads / s.packs};
  }
};

/// Calls term(pixel, channel, sums) for what this thread owns, which adds to `sums` the terms of n sums for L
/// channels; then put(k, i, sum) with every sum of the block, where i counts the channels of its tile. All
/// threads call it.
template <int L, int n, class Term, class Put>
LUX_DEVICE void sum_slab(const Slabs& s, const Place& at, const Term& term, const Put& put) {
  const int64_t channel = at.first_channel + at.pack * L;
  const bool owns = at.row < at.rows && channel < s.C;
  Lanes<L> sums[n];
  if (owns) {
    const int64_t begin = at.slab * s.slab, end = begin + s.slab < s.pixels ? begin + s.slab : s.pixels;
    for (int64_t pixel = begin + at.row; pixel < end; pixel += at.rows)
      term(at.group * s.pixels + pixel, channel, sums);
  }
  LUX_SHARED Shared<float, kThreads * L> of_rows;
  const int width = s.packs * L;
  LUX_UNROLL
  for (int k = 0; k < n; ++k) {
    LUX_UNROLL
    for (int l = 0; l < L; ++l) {
      if (at.row < at.rows) of_rows[at.row * width + at.pack * L + l] = sums[k][l];
    }
    sync_threads();
    for (int i = thread_index(); i < width; i += kThreads) {
      float sum = of_rows[i];
      for (int row = 1; row < at.rows; ++row) sum += of_rows[row * width + i];
      if (at.first_channel + i < s.C) put(k, i, sum);
    }
    sync_threads();
  }
}

/// sum_slab into partial sums [groups, slabs, n, C], which `FinishSums` adds up.
template <int L, int n, class Term>
LUX_DEVICE void partial_sums(const Slabs& s, float* partial, const Term& term) {
  const Place at = Place::of(s, L);
  float* const own = partial + (at.group * s.slabs + at.slab) * n * s.C + at.first_channel;
  sum_slab<L, n>(s, at, term, [&](int k, int i, float sum) { own[k * s.C + i] = sum; });
}

/// Adds up partial sums [groups, slabs, columns]: finish(group, column, sum).
template <class Finish>
struct FinishSums {
  const float* partial;
  int64_t groups, slabs, columns;
  Finish finish;

  int64_t tiles() const { return (columns + kWarp - 1) / kWarp; }
  int64_t blocks() const { return groups * tiles(); }

  LUX_DEVICE void operator()() const {
    LUX_SHARED Shared<float, kThreads> of_rows;
    const int lane = thread_index() % kWarp, row = thread_index() / kWarp;
    const int64_t of_group = (columns + kWarp - 1) / kWarp, group = block_index() / of_group;
    const int64_t column = block_index() % of_group * kWarp + lane;
    float sum = 0;
    if (column < columns) {
      for (int64_t slab = row; slab < slabs; slab += kWarps)
        sum += partial[(group * slabs + slab) * columns + column];
    }
    of_rows[thread_index()] = sum;
    sync_threads();
    if (row > 0 || column >= columns) return;
    for (int r = 1; r < kWarps; ++r) sum += of_rows[r * kWarp + lane];
    finish(group, column, sum);
  }
};

template <class Finish>
void finish_sums(const float* partial, const Slabs& s, int sums, const Finish& finish) {
  const FinishSums<Finish> kernel{partial, s.groups, s.slabs, sums * s.C, finish};
  launch(kernel.blocks(), kernel);
}

}  // namespace lux::cuda
