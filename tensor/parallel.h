// The four drivers that run kernels. A kernel is a small named struct whose members do the math; the drivers
// decide who runs it where. This header is the one place that knows launch syntax.
//
//   parallel_for     one call per output element
//   parallel_rows    a team per row: one CPU thread or one CUDA block that sums and maximises together
//   parallel_reduce  sums over a range, many outputs at once
//   reduce_columns   sums over rows for every column: bias gradients, global pooling, statistics
//
// Sums run in float64 in an order that depends on the shape only: fixed blocks, 16 lanes, a fixed tree. So
// results are the same bits for any number of threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "luxgrad/tensor/device.h"
#include "luxgrad/tensor/dtype.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {

namespace detail {

inline constexpr int64_t kGrain = 8192;        // elements per chunk
inline constexpr int64_t kSumBlock = 4096;     // terms per partial sum
inline constexpr int64_t kColumnBlock = 1024;  // rows per partial sum of columns

/// Sum of term(i) for i in [begin, end) in 16 lanes.
template <class Term>
double lane_sum(int64_t begin, int64_t end, const Term& term) {
  std::array<double, 16> lanes{};
  int64_t i = begin;
  for (; i + 16 <= end; i += 16) {
    for (size_t lane = 0; lane < 16; ++lane)
      lanes[lane] += static_cast<double>(term(i + static_cast<int64_t>(lane)));
  }
  for (size_t lane = 0; i < end; ++i, ++lane) lanes[lane] += static_cast<double>(term(i));
  for (size_t width = 8; width > 0; width /= 2) {
    for (size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

/// Sum of `count` doubles that stand `stride` apart, as a binary tree over halves.
inline double tree_sum(const double* values, int64_t count, int64_t stride) {
  if (count == 1) return values[0];
  const int64_t half = count / 2;
  return tree_sum(values, half, stride) + tree_sum(values + half * stride, count - half, stride);
}

template <class F>
concept HasRow = requires(const F& f) {
  f.row(int64_t{});
};

inline int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

}  // namespace detail

/// Calls f(i) for i in [0, n). Calls must be independent of each other.
template <class F>
void parallel_for([[maybe_unused]] Device device, int64_t n, const F& f, int64_t grain = detail::kGrain) {
  run_chunks(detail::blocks_of(n, grain), [&](int64_t chunk) {
    const F kernel = f;  // a copy that nobody else can write to, so that the loop below vectorises
    const int64_t end = std::min(n, (chunk + 1) * grain);
#pragma GCC ivdep
    for (int64_t i = chunk * grain; i < end; ++i) kernel(i);
  });
}

/// What the members of a team do together. On the CPU a team is one thread.
struct Team {
  /// f(i) for i in [0, n).
  template <class F>
  void each(int64_t n, const F& f) const {
    for (int64_t i = 0; i < n; ++i) f(i);
  }
  /// Sum of f(i) for i in [0, n).
  template <class F>
  double sum(int64_t n, const F& f) const {
    return detail::lane_sum(0, n, f);
  }
  /// Largest f(i) for i in [0, n), n at least 1.
  template <class F>
  auto max(int64_t n, const F& f) const {
    auto largest = f(int64_t{0});
    for (int64_t i = 1; i < n; ++i) largest = std::max(largest, f(i));
    return largest;
  }
};

/// Calls f(team, row) for row in [0, rows). `cost` is about how many elements a row touches.
template <class F>
void parallel_rows(Device device, int64_t rows, int64_t cost, const F& f) {
  const auto on_row = [&f](int64_t row) { f(Team{}, row); };
  parallel_for(device, rows, on_row, std::max<int64_t>(1, detail::kGrain / std::max<int64_t>(1, cost)));
}

/// For every output o: f.finish(o, sum of f.term(o, i) for i in [0, n)). n = 0 gives the sum 0. `cost` is
/// about how many elements a term touches.
template <class F>
void parallel_reduce(Device device, int64_t outputs, int64_t n, const F& f, int64_t cost = 1) {
  const int64_t sum_block = std::max<int64_t>(16, detail::kSumBlock / std::max<int64_t>(1, cost));
  const auto part = [&f, n, sum_block](int64_t o, int64_t block) {
    return detail::lane_sum(block * sum_block, std::min(n, (block + 1) * sum_block),
                            [&f, o](int64_t i) { return f.term(o, i); });
  };
  if (n <= sum_block) {
    parallel_rows(device, outputs, n * cost, [&](const Team&, int64_t o) { f.finish(o, part(o, 0)); });
    return;
  }
  const int64_t blocks = detail::blocks_of(n, sum_block);
  std::vector<double> partial(static_cast<size_t>(outputs * blocks));
  parallel_rows(device, outputs * blocks, sum_block * cost, [&](const Team&, int64_t p) {
    partial[static_cast<size_t>(p)] = part(p / blocks, p % blocks);
  });
  for (int64_t o = 0; o < outputs; ++o) f.finish(o, detail::tree_sum(partial.data() + o * blocks, blocks, 1));
}

/// For every group g and column c: f.finish(g, c, sum of f.term(row, c) over the `rows` rows of that group);
/// rows are numbered through all groups. Where f has f.row(row) it is called once for each, before its terms:
/// for what else can be made of a row while it is at hand.
template <class F>
void reduce_columns([[maybe_unused]] Device device, int64_t groups, int64_t rows, int64_t columns,
                    const F& f) {
  const int64_t blocks = std::max<int64_t>(1, detail::blocks_of(rows, detail::kColumnBlock));
  std::vector<double> partial(static_cast<size_t>(groups * blocks * columns));
  run_chunks(groups * blocks, [&](int64_t chunk) {
    const F kernel = f;
    double* const sums = partial.data() + chunk * columns;
    const int64_t group = chunk / blocks, block = chunk % blocks;
    const int64_t end = std::min(rows, (block + 1) * detail::kColumnBlock);
    for (int64_t row = block * detail::kColumnBlock; row < end; ++row) {
      if constexpr (detail::HasRow<F>) kernel.row(group * rows + row);
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c)
        sums[c] += static_cast<double>(kernel.term(group * rows + row, c));
    }
  });
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t c = 0; c < columns; ++c) {
      f.finish(g, c, detail::tree_sum(partial.data() + g * blocks * columns + c, blocks, columns));
    }
  }
}

}  // namespace lux
