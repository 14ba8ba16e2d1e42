// The four drivers that run kernels. A kernel is a small named struct whose members do the math; the drivers
// decide who runs it where.
//
//   parallel_for     one call per output element
//   parallel_rows    a team per row: one CPU thread, or 16 neighbouring threads of a GPU
//   parallel_reduce  sums over a range, many outputs at once
//   reduce_columns   sums over rows for every column: bias gradients, global pooling, statistics
//
// Sums run in float64 in an order that depends on the shape only: fixed blocks, 16 lanes, a fixed tree. So
// results are the same bits for any number of threads. On the GPU every lane is a thread, and the order is
// the same.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "luxgrad/tensor/cuda_launch.h"
#include "luxgrad/tensor/device.h"
#include "luxgrad/tensor/storage.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {

namespace detail {

inline constexpr int64_t kGrain = 8192;        // elements per chunk
inline constexpr int64_t kSumBlock = 4096;     // terms per partial sum
inline constexpr int64_t kColumnBlock = 1024;  // rows per partial sum of columns

/// Sum of term(i) for i in [0, n) in 16 lanes.
template <class Term>
LUX_HD double lane_sum(int64_t n, const Term& term) {
  double lanes[gpu::kLanes] = {};
  int64_t i = 0;
  for (; i + gpu::kLanes <= n; i += gpu::kLanes) {
    for (int lane = 0; lane < gpu::kLanes; ++lane) lanes[lane] += static_cast<double>(term(i + lane));
  }
  for (int lane = 0; i < n; ++i, ++lane) lanes[lane] += static_cast<double>(term(i));
  for (int width = gpu::kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

/// Sum of `count` doubles that stand `stride` apart, as a binary tree over halves.
LUX_HD inline double tree_sum(const double* values, int64_t count, int64_t stride) {
  // For every branch on the way down: the sum of its left half once that is known, and what waits at its
  // right.
  double left[64];
  int64_t right[64];
  for (int depth = 0;;) {
    for (; count > 1; count /= 2) right[depth++] = count - count / 2;
    double sum = *values;
    values += stride;
    // `left` is written before its `right` becomes zero.
    // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult)
    while (depth > 0 && right[depth - 1] == 0) sum = left[--depth] + sum;
    if (depth == 0) return sum;
    left[depth - 1] = sum;
    count = std::exchange(right[depth - 1], 0);
  }
}

template <class F>
concept HasRow = requires(const F& f) {
  f.row(int64_t{});
};

constexpr int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

template <class F>
void for_chunks(int64_t n, const F& f, int64_t grain) {
  run_chunks(blocks_of(n, grain), [&](int64_t chunk) {
    const F kernel = f;  // a copy that nobody else can write to, so that the loop below vectorises
    const int64_t end = std::min(n, (chunk + 1) * grain);
#pragma GCC ivdep
    for (int64_t i = chunk * grain; i < end; ++i) kernel(i);
  });
}

}  // namespace detail

/// Calls f(i) for i in [0, n). Calls must be independent of each other.
template <class F>
void parallel_for(Device device, int64_t n, const F& f, int64_t grain = detail::kGrain) {
  device == kCpu ? detail::for_chunks(n, f, grain) : gpu::each(n, f);
}

/// What the members of a team do together; every member sees the result. A team of one is what it is on the
/// CPU, and what a kernel makes for itself: `Team{}`.
struct Team {
  int lane = 0, lanes = 1;

  /// f(i) for i in [0, n), independent of each other.
  template <class F>
  LUX_HD void each(int64_t n, const F& f) const {
#pragma GCC ivdep
    for (int64_t i = first(); i < n; i += step()) f(i);
  }
  /// Sum of f(i) for i in [0, n).
  template <class F>
  LUX_HD double sum(int64_t n, const F& f) const {
    if (step() == 1) return detail::lane_sum(n, f);
    double own = 0;
    for (int64_t i = first(); i < n; i += step()) own += static_cast<double>(f(i));
    return gpu::joined(own, [](double a, double b) { return a + b; });
  }
  /// Largest f(i) for i in [0, n), n at least 1.
  template <class F>
  LUX_HD auto max(int64_t n, const F& f) const {
    auto largest = f(int64_t{0});
    for (int64_t i = first(); i < n; i += step()) largest = std::max(largest, f(i));
    if (step() == 1) return largest;
    return gpu::joined(largest, [](auto a, auto b) { return std::max(a, b); });
  }
  /// Whether this member does what only one of them may.
  LUX_HD bool leads() const { return first() == 0; }

 private:
  LUX_HD int64_t first() const { return gpu::kHere ? lane : 0; }
  LUX_HD int64_t step() const { return gpu::kHere ? lanes : 1; }
};

/// Calls f(team, row) for row in [0, rows). `cost` is about how many elements a row touches.
template <class F>
void parallel_rows(Device device, int64_t rows, int64_t cost, const F& f) {
  if (device != kCpu) return gpu::rows<Team>(rows, f);
  const auto on_row = [&f](int64_t row) { f(Team{}, row); };
  detail::for_chunks(rows, on_row, std::max<int64_t>(1, detail::kGrain / std::max<int64_t>(1, cost)));
}

namespace detail {

// The terms of one output: all of them, or one block for a partial sum.
template <class F>
struct SumAll {
  F f;
  int64_t n;
  LUX_HD void operator()(const Team& team, int64_t o) const {
    const double sum = team.sum(n, [&](int64_t i) { return f.term(o, i); });
    if (team.leads()) f.finish(o, sum);
  }
};

template <class F>
struct SumBlock {
  F f;
  double* partial;  // [outputs, blocks]
  int64_t n, size, blocks;
  LUX_HD void operator()(const Team& team, int64_t p) const {
    const int64_t o = p / blocks, begin = p % blocks * size;
    const double sum = team.sum(std::min(size, n - begin), [&](int64_t i) { return f.term(o, begin + i); });
    if (team.leads()) partial[p] = sum;
  }
};

template <class F>
struct SumOfBlocks {
  F f;
  const double* partial;
  int64_t blocks;
  LUX_HD void operator()(int64_t o) const { f.finish(o, tree_sum(partial + o * blocks, blocks, 1)); }
};

// On the GPU a thread has a column, and neighbours have neighbouring columns.
template <class F>
struct ColumnBlock {
  F f;
  double* partial;  // [groups, blocks, columns]
  int64_t rows, columns, blocks;
  LUX_HD void operator()(int64_t p) const {
    const int64_t c = p % columns, block = p / columns % blocks, group = p / columns / blocks;
    double sum = 0;
    for (int64_t row = block * kColumnBlock; row < std::min(rows, (block + 1) * kColumnBlock); ++row)
      sum += static_cast<double>(f.term(group * rows + row, c));
    partial[p] = sum;
  }
};

template <class F>
struct ColumnOfBlocks {
  F f;
  const double* partial;
  int64_t columns, blocks;
  LUX_HD void operator()(int64_t p) const {
    const int64_t c = p % columns, g = p / columns;
    f.finish(g, c, tree_sum(partial + g * blocks * columns + c, blocks, columns));
  }
};

template <class F>
struct VisitRow {
  F f;
  LUX_HD void operator()(int64_t row) const { f.row(row); }
};

// On the CPU a thread has a block of rows, and the columns are the SIMD lanes.
template <class F>
void sum_column_blocks(int64_t groups, int64_t rows, int64_t columns, int64_t blocks, const F& f,
                       double* partial) {
  run_chunks(groups * blocks, [&](int64_t chunk) {
    const F kernel = f;
    double* const sums = partial + chunk * columns;
    std::fill_n(sums, columns, 0.0);
    const int64_t group = chunk / blocks, block = chunk % blocks;
    const int64_t end = std::min(rows, (block + 1) * kColumnBlock);
    for (int64_t row = block * kColumnBlock; row < end; ++row) {
      if constexpr (HasRow<F>) kernel.row(group * rows + row);
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c)
        sums[c] += static_cast<double>(kernel.term(group * rows + row, c));
    }
  });
}

}  // namespace detail

/// For every output o: f.finish(o, sum of f.term(o, i) for i in [0, n)). n = 0 gives the sum 0. `cost` is
/// about how many elements a term touches.
template <class F>
void parallel_reduce(Device device, int64_t outputs, int64_t n, const F& f, int64_t cost = 1) {
  const int64_t size = std::max<int64_t>(16, detail::kSumBlock / std::max<int64_t>(1, cost));
  if (n <= size) return parallel_rows(device, outputs, n * cost, detail::SumAll<F>{f, n});
  const int64_t blocks = detail::blocks_of(n, size);
  const Storage partial(outputs * blocks * static_cast<int64_t>(sizeof(double)), device);
  auto* const sums = static_cast<double*>(partial.data());
  parallel_rows(device, outputs * blocks, size * cost, detail::SumBlock<F>{f, sums, n, size, blocks});
  parallel_for(device, outputs, detail::SumOfBlocks<F>{f, sums, blocks});
}

/// For every group g and column c: f.finish(g, c, sum of f.term(row, c) over the `rows` rows of that group);
/// rows are numbered through all groups. Where f has f.row(row) it is called once for each, before its terms:
/// for what else can be made of a row while it is at hand.
template <class F>
void reduce_columns(Device device, int64_t groups, int64_t rows, int64_t columns, const F& f) {
  const int64_t blocks = std::max<int64_t>(1, detail::blocks_of(rows, detail::kColumnBlock));
  const Storage partial(groups * blocks * columns * static_cast<int64_t>(sizeof(double)), device);
  auto* const sums = static_cast<double*>(partial.data());
  if (device == kCpu) {
    detail::sum_column_blocks(groups, rows, columns, blocks, f, sums);
  } else {
    if constexpr (detail::HasRow<F>) gpu::each(groups * rows, detail::VisitRow<F>{f});
    gpu::each(groups * blocks * columns, detail::ColumnBlock<F>{f, sums, rows, columns, blocks});
  }
  parallel_for(device, groups * columns, detail::ColumnOfBlocks<F>{f, sums, columns, blocks});
}

}  // namespace lux
