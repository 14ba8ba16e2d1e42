// Sums in two stages, in an order that depends on shapes only: threads, then a tree or a row of the block,
// then the partial sums of all blocks by another kernel. Nothing is added by atomics.
#pragma once

#include "luxgrad/kernels/cuda/launch.cuh"
#include "luxgrad/tensor/tensor.h"

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
  int64_t groups, pixels, C;   // pixels of a group
  int packs;                   // threads side by side on the channels of a pixel, `lanes` channels each
  int64_t tiles, slab, slabs;  // tiles of channels; pixels of a slab; slabs of a group

  static Slabs of(int64_t groups, int64_t pixels, int64_t C, int lanes) {
    constexpr int64_t kBlocks = 1024;  // about, for slabs of 2048 to 16384 elements
    const int64_t share = groups * pixels * C / kBlocks;
    const int64_t elements = share < 2048 ? 2048 : (share > 16384 ? 16384 : share);
    const int64_t wide = blocks_of(C, lanes);
    const int packs = static_cast<int>(wide < kThreads ? wide : kThreads);
    const int64_t rows = kThreads / packs;
    const int64_t slab = blocks_of(elements / C, rows) * rows;
    const int64_t size = slab < rows ? rows : slab;
    return {groups, pixels, C, packs, blocks_of(wide, packs), size, blocks_of(pixels, size)};
  }
  int64_t blocks() const { return groups * slabs * tiles; }
  /// For n sums of each channel.
  Tensor partial(int n, Device device) const { return empty({groups, slabs, n, C}, {DType::f32, device}); }
};

/// What a thread of `Slabs` works on.
struct Place {
  int64_t group, slab, first_channel;  // of the block's tile
  int pack, row, rows;

  LUX_DEVICE static Place of(const Slabs& s, int lanes) {
    const int64_t block = block_index(), tile = block % s.tiles;
    return {block / s.tiles / s.slabs, block / s.tiles % s.slabs, tile * s.packs * lanes,
            thread_index() % s.packs,  thread_index() / s.packs,  kThreads / s.packs};
  }
};

/// f(pixel, channel, inside) for the pixels of the block's slab, of which this thread owns L channels. All
/// threads call f equally often, so that f may shuffle; where `inside` is false there is nothing to read.
template <int L, class F>
LUX_DEVICE void each_pixel(const Slabs& s, const Place& at, const F& f) {
  const int64_t channel = at.first_channel + at.pack * L;
  const bool owns = at.row < at.rows && channel < s.C;
  const int64_t begin = at.slab * s.slab, end = begin + s.slab < s.pixels ? begin + s.slab : s.pixels;
  for (int64_t first = begin; first < end; first += at.rows)
    f(at.group * s.pixels + first + at.row, channel, owns && first + at.row < end);
}

/// put(k, i, sum) with the sums over the rows of a block, where i counts the channels of its tile. All
/// threads call it.
template <int L, int n, class Put>
LUX_DEVICE void sum_rows(const Slabs& s, const Place& at, const Lanes<L> (&sums)[n], const Put& put) {
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

/// The sums over the rows of a block into partial sums [groups, slabs, n, C], which `finish_sums` adds up.
template <int L, int n>
LUX_DEVICE void put_partial(const Slabs& s, const Place& at, const Lanes<L> (&sums)[n], float* partial) {
  float* const own = partial + (at.group * s.slabs + at.slab) * n * s.C + at.first_channel;
  sum_rows<L, n>(s, at, sums, [&](int k, int i, float sum) { own[k * s.C + i] = sum; });
}

/// What the threads of each pixel make of their values together, by join(a, b), in the order of the channels;
/// for all of them. Threads that own nothing bring the neutral element. All threads call it.
template <class Join>
LUX_DEVICE float of_pixel(const Slabs& s, const Place& at, float value, const Join& join) {
  if ((s.packs & (s.packs - 1)) == 0 && s.packs <= kWarp) {
    for (int mask = 1; mask < s.packs; mask *= 2) value = join(value, shuffle_xor(value, mask));
    return value;
  }
  LUX_SHARED Shared<float, kThreads> of_packs;
  of_packs[thread_index()] = value;
  sync_threads();
  const int first = at.row * s.packs;
  if (at.row < at.rows) {
    value = of_packs[first];
    for (int pack = 1; pack < s.packs; ++pack) value = join(value, of_packs[first + pack]);
  }
  sync_threads();
  return value;
}

/// The sums of the values of the threads that stand 32 apart, for each of them. All threads call it.
LUX_DEVICE float of_column(float value) {
  LUX_SHARED Shared<float, kThreads> of_rows;
  of_rows[thread_index()] = value;
  sync_threads();
  const int lane = thread_index() % kWarp;
  value = of_rows[lane];
  for (int row = 1; row < kWarps; ++row) value += of_rows[row * kWarp + lane];
  sync_threads();
  return value;
}

/// Adds up partial sums [groups, slabs, columns]: finish(group, column, sum).
template <class Finish>
struct FinishSums {
  const float* partial;
  int64_t groups, slabs, columns;
  Finish finish;

  LUX_HD int64_t tiles() const { return blocks_of(columns, kWarp); }
  int64_t blocks() const { return groups * tiles(); }

  LUX_DEVICE void operator()() const {
    const int lane = thread_index() % kWarp, row = thread_index() / kWarp;
    const int64_t group = block_index() / tiles(), column = block_index() % tiles() * kWarp + lane;
    float sum = 0;
    if (column < columns) {
      for (int64_t slab = row; slab < slabs; slab += kWarps)
        sum += partial[(group * slabs + slab) * columns + column];
    }
    sum = of_column(sum);
    if (row == 0 && column < columns) finish(group, column, sum);
  }
};

/// finish(group, k·C + channel, sum) for each of n sums.
template <class Finish>
void finish_sums(const Tensor& partial, const Slabs& s, int n, const Finish& finish) {
  const FinishSums<Finish> kernel{partial.data<float>(), s.groups, s.slabs, n * s.C, finish};
  launch(kernel.blocks(), kernel);
}

}  // namespace lux::cuda
