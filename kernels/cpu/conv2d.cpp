// The tuned convolutions of the CPU: cut pictures into tiles for the pool and leave each to the code of this
// processor's instruction set (tiles.cpp, pairs.cpp). How the work is cut depends on the shape only, never on
// the threads.
#include <algorithm>
#include <array>

#include "luxgrad/kernels/cpu/conv2d_host.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

using cpu::Concatenation;
using cpu::Convolution;
using cpu::is_depthwise;
using cpu::Isa;
using cpu::Pairs;
using cpu::Part;
using cpu::Pictures;
using cpu::Products;
using cpu::scratch;
using cpu::Tile;
using cpu::Tiles;
using cpu::WeightBlock;
using cpu::Weights;
using detail::blocks_of;

constexpr int64_t kLongestStride = 8, kLargestKernel = 64;  // beyond, the plain text is good enough

const Tiles& tiles_for(DType dtype) {
  const Isa& isa = *cpu::isa();
  switch (dtype) {
    case DType::f64:
      return isa.f64;
    case DType::bf16:
      return isa.bf16;
    case DType::f16:
      return isa.f16;
    default:
      return isa.f32;
  }
}

// How products are taken, and the name of the packing that this wants.
struct Way {
  const Products& products;
  DerivedKind packing;
};
using WayOf = Way(const Conv2dProblem&);

Way direct(const Conv2dProblem& s) { return {tiles_for(s.dtype).products, kTilePacking}; }

Way paired(const Conv2dProblem& s) {
  const Pairs& pairs = *cpu::isa()->pairs;
  if (s.precision == Precision::bf16) return {pairs.single, kSinglePacking};
  return {pairs.split, kSplitPacking};
}

// The same sums in an easier geometry: a pointwise convolution sees one long row of pixels, and the stride of
// a single output does not matter.
Conv2dProblem simplified(Conv2dProblem s) {
  if (s.P == 1 && s.Q == 1) s.stride = 1;
  if (s.kH == 1 && s.kW == 1 && s.stride == 1 && s.P == s.H && s.Q == s.W && s.top == 0 && s.left == 0) {
    s.W = s.Q = s.N * s.H * s.W;
    s.N = s.H = s.P = 1;
  }
  return s;
}

// A grid of rectangles over the outputs of a picture, sized so that band, sums and weights stay in the second
// cache level: about 480 outputs, fewer where they have many channels.
struct Grid {
  int64_t rows, columns, tall, wide;

  Grid(int64_t unit, int64_t rows, int64_t columns, int64_t stride, int64_t channels, DType dtype)
      : rows(rows), columns(columns) {
    const auto pixel = channels * static_cast<int64_t>(size_of(arith_dtype(dtype)));
    const int64_t most =
        std::clamp((int64_t{96} << 10) / std::max<int64_t>(1, pixel), 4 * unit, int64_t{480}) / stride;
    wide = std::max<int64_t>(1, (rows == 1 ? most : std::min<int64_t>(most, 64)) / unit) * unit;
    wide = std::min(wide, columns);
    tall = std::clamp<int64_t>(most / blocks_of(wide, unit) / unit, 1, rows);
  }
  int64_t across() const { return blocks_of(columns, wide); }
  int64_t count() const { return blocks_of(rows, tall) * across(); }
  /// Tile `index`, counted through all pictures.
  Tile at(int64_t index) const {
    const int64_t n = index / count(), row = index % count() / across() * tall,
                  column = index % across() * wide;
    return {n, 0, row, std::min(tall, rows - row), column, std::min(wide, columns - column)};
  }
};

// Where the weights of group 0 stand in their tensor; those of the next stand `group` elements further.
struct Order {
  int64_t first, group, k, i, j, c;
};

Weights weights_of(const Conv2dProblem& s, const Tensor& weight, const Order& order, int64_t group) {
  const int64_t skipped = order.first + group * order.group;
  return {static_cast<const char*>(weight.raw()) + skipped * static_cast<int64_t>(size_of(s.dtype)), order.k,
          order.i, order.j, order.c};
}

Tensor packed(const Way& way, const Conv2dProblem& s, const Convolution& c, const Tensor& weight,
              const Order& order, bool keep) {
  const DerivedKey key{way.packing, s.groups,    c.kH,    c.kW,    c.depth, c.width,
                       order.first, order.group, order.k, order.i, order.j, order.c};
  return derived_weights(weight, key, keep, [&] {
    const Products& products = way.products;
    const int64_t bytes = products.packed_bytes(c), slices = std::clamp<int64_t>(bytes >> 16, 1, 64);
    Tensor to = cpu::kept(s.groups * bytes);
    run_chunks(s.groups * slices, [&](int64_t chunk) {
      const int64_t group = chunk / slices;
      products.pack(c, weights_of(s, weight, order, group), chunk % slices, slices,
                    static_cast<char*>(to.raw()) + group * bytes);
    });
    return to;
  });
}

// Runs one window over all pictures: `rows` x `columns` outputs each.
void convolve(const Way& way, const Conv2dProblem& s, Convolution c, const Tensor& weight, const Order& order,
              int64_t rows, int64_t columns) {
  const Products& products = way.products;
  const int64_t groups = s.groups;
  const Tensor ready = packed(way, s, c, weight, order, worth_keeping(s.N * rows * columns));
  c.weights = ready.raw();
  const Grid grid(products.columns, rows, columns, c.stride, c.width, s.dtype);
  run_chunks(s.N * groups * grid.count(), [&](int64_t chunk) {
    Tile tile = grid.at(chunk / groups);
    tile.group = chunk % groups;
    products.convolve(c, tile, scratch(products.scratch(c, tile)).raw());
  });
}

Tensor packed_depthwise(const Conv2dProblem& s, const Convolution& c, const Tensor& weight,
                        const Order& order, bool keep) {
  const DerivedKey key{kDepthwisePacking, s.groups,    c.kH,    c.kW,    c.depth, c.width,
                       order.first,       order.group, order.k, order.i, order.j, order.c};
  return derived_weights(weight, key, keep, [&] {
    const Tiles& tiles = tiles_for(s.dtype);
    Tensor to = cpu::kept(tiles.packed_depthwise_bytes(c));
    tiles.pack_depthwise(c, weights_of(s, weight, order, 0), to.raw());
    return to;
  });
}

void convolve_depthwise(const Conv2dProblem& s, Convolution c, const Tensor& weight, const Order& order,
                        int64_t rows, int64_t columns) {
  const Tiles& tiles = tiles_for(s.dtype);
  const Tensor ready = packed_depthwise(s, c, weight, order, worth_keeping(s.N * rows * columns));
  c.weights = ready.raw();
  const int64_t step = cpu::isa()->depthwise_channels, parts = blocks_of(c.width, step);
  const Grid grid(tiles.products.columns, rows, columns, c.stride, step, s.dtype);
  run_chunks(s.N * parts * grid.count(), [&](int64_t chunk) {
    Tile tile = grid.at(chunk / parts);
    tile.group = chunk % parts * step;
    tiles.depthwise(c, tile, scratch(tiles.depthwise_scratch(c, tile)).raw());
  });
}

// The window of a convolution on its way over the source, without weights.
Convolution window_of(const Conv2dProblem& s, const Pictures& source, const Pictures& target,
                      const Tensor& wide_bias) {
  return {.source = source,
          .target = target,
          .kH = s.kH,
          .kW = s.kW,
          .stride = s.stride,
          .top = s.top,
          .left = s.left,
          .depth = s.C / s.groups,
          .width = is_depthwise(s) ? s.K : s.K / s.groups,
          .bias = wide_bias.defined() ? wide_bias.raw() : nullptr,
          .activation = static_cast<uint8_t>(s.activation),
          .slope = s.slope};
}

Order forward_order(const Conv2dProblem& s) {
  const int64_t depth = s.C / s.groups, filter = s.kH * s.kW * depth;
  return {0, s.K / s.groups * filter, filter, s.kW * depth, depth, 1};
}

Tensor in_arithmetic(const Tensor& bias) {
  return bias.defined() ? bias.to(arith_dtype(bias.dtype())) : Tensor();
}

template <WayOf kWay>
void forward_onto(const Conv2dProblem& problem, const Tensors& inputs, const Tensor& weight,
                  const Tensor& bias, const Tensor& skip, const Tensor& y) {
  const Conv2dProblem s = simplified(problem);
  const Concatenation source(inputs), target(y);
  const Tensor wide_bias = in_arithmetic(bias);
  Convolution c = window_of(s, source.pictures(s.H, s.W), target.pictures(s.P, s.Q), wide_bias);
  c.skip = skip.defined() ? skip.raw() : nullptr;
  if (is_depthwise(s)) return convolve_depthwise(s, c, weight, forward_order(s), s.P, s.Q);
  convolve(kWay(s), s, c, weight, forward_order(s), s.P, s.Q);
}

template <WayOf kWay>
void forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  forward_onto<kWay>(s, inputs, weight, bias, {}, y);
}

// Row by row of a tile: the filtered pixels of one are in the first cache level when the pointwise
// convolution reads them, and exist nowhere else. Where a kernel does both it goes down a tile by itself.
template <WayOf kWay>
void separable(const Conv2dStep& depth, const Conv2dStep& point, const Tensors& inputs, const Tensor& y) {
  const Conv2dProblem &d = depth.problem, &p = point.problem;
  const Tiles& tiles = tiles_for(d.dtype);
  const Way way = kWay(p);
  const Concatenation source(inputs), target(y);
  const Tensor depth_bias = in_arithmetic(depth.bias), point_bias = in_arithmetic(point.bias);
  Convolution filter = window_of(d, source.pictures(d.H, d.W), {}, depth_bias);
  Convolution mix = window_of(p, {}, target.pictures(p.P, p.Q), point_bias);
  const bool keep = worth_keeping(p.P * p.Q);
  const Tensor filters = packed_depthwise(d, filter, depth.weight, forward_order(d), keep);
  const Tensor mixture = packed(way, p, mix, point.weight, forward_order(p), keep);
  filter.weights = filters.raw();
  mix.weights = mixture.raw();
  const int64_t step = cpu::isa()->depthwise_channels;
  const bool at_once = &way.products == &tiles.products && tiles.separable_takes(filter, mix);
  const Grid grid(at_once ? tiles.separable_columns : way.products.columns, d.P, d.Q, d.stride,
                  at_once ? step : d.K, d.dtype);
  run_chunks(grid.count(), [&](int64_t chunk) {
    const Tile tile = grid.at(chunk), line{0, 0, 0, 1, 0, tile.columns};
    if (at_once && tile.columns >= tiles.separable_columns)
      return tiles.separable(filter, mix, tile, scratch(tiles.separable_scratch(filter, mix, tile)).raw());
    const auto between = scratch(tile.columns * d.K * static_cast<int64_t>(size_of(d.dtype)));
    const Part middle{between.raw(), d.K};
    Convolution to = filter, from = mix;
    to.target = from.source = {&middle, 1, 1, tile.columns};
    to.column = -tile.column;
    from.column = tile.column;
    Tile row = tile;
    row.rows = 1;
    const auto room = scratch(std::max(tiles.depthwise_scratch(to, row), way.products.scratch(from, line)));
    for (; row.row < tile.row + tile.rows; ++row.row) {
      to.row = -row.row;
      from.row = row.row;
      for (row.group = 0; row.group < d.K; row.group += step) tiles.depthwise(to, row, room.raw());
      way.products.convolve(from, line, room.raw());
    }
  });
}

// Which rows (or columns) h ≡ phase - before (mod stride) of the input see which outputs: tap t of `taps` is
// kernel row phase + t·stride, output number r sits at h = first + r·stride, and its window begins at output
// row r - offset.
struct Phase {
  int64_t taps, first, count, offset;

  Phase(int64_t phase, int64_t stride, int64_t before, int64_t kernel, int64_t size) {
    taps = phase < kernel ? blocks_of(kernel - phase, stride) : 0;
    const int64_t skipped = before > phase ? blocks_of(before - phase, stride) : 0;
    first = phase - before + skipped * stride;
    count = size > first ? blocks_of(size - first, stride) : 0;
    offset = taps - 1 - skipped;
  }
};

// Each of the stride² phases of the input is an ordinary convolution of gz with some of the taps, turned
// around.
template <WayOf kWay>
void input_gradient(const Conv2dProblem& problem, const Tensor& gz, const Tensor& weight,
                    const std::vector<int64_t>& channels, const Tensors& gx) {
  const Conv2dProblem s = simplified(problem);
  const Concatenation source(gz), target(gx, channels);
  const int64_t depth = s.C / s.groups, filter = s.kH * s.kW * depth;
  for (int64_t a = 0; a < s.stride; ++a) {
    for (int64_t b = 0; b < s.stride; ++b) {
      const Phase rows(a, s.stride, s.top, s.kH, s.H), columns(b, s.stride, s.left, s.kW, s.W);
      if (rows.count == 0 || columns.count == 0) continue;
      Convolution c{.source = source.pictures(s.P, s.Q),
                    .target = target.pictures(s.H, s.W),
                    .kH = rows.taps,
                    .kW = columns.taps,
                    .top = rows.offset,
                    .left = columns.offset,
                    .depth = s.K / s.groups,
                    .width = depth,
                    .row = rows.first,
                    .column = columns.first,
                    .step = s.stride};
      const int64_t last = (a + (rows.taps - 1) * s.stride) * s.kW + b + (columns.taps - 1) * s.stride;
      const bool empty_window = rows.taps == 0 || columns.taps == 0;
      Order order{empty_window ? 0 : last * depth, c.depth * filter,  1,
                  -s.stride * s.kW * depth,        -s.stride * depth, filter};
      if (is_depthwise(s)) {
        c.depth = 1;
        c.width = s.C;
        order.k = filter;
        convolve_depthwise(s, c, weight, order, rows.count, columns.count);
      } else {
        convolve(kWay(s), s, c, weight, order, rows.count, columns.count);
      }
    }
  }
}

// The weights cut into blocks whose sums fit into the cache.
struct Blocks {
  int64_t groups, width, depth;  // of the weights
  int64_t block_width, block_depth;

  Blocks(int64_t groups, int64_t width, int64_t depth, int64_t kW)
      : groups(groups),
        width(width),
        depth(depth),
        block_width(blocks_of(width, blocks_of(width, 48))),
        block_depth(std::min(depth, std::max<int64_t>(8, 96 / kW / 8 * 8))) {}
  int64_t down() const { return blocks_of(width, block_width); }
  int64_t across() const { return blocks_of(depth, block_depth); }
  int64_t count() const { return groups * down() * across(); }
  WeightBlock at(int64_t index) const {
    const int64_t k = index / across() % down() * block_width, c = index % across() * block_depth;
    return {index / across() / down(), k, std::min(block_width, width - k), c,
            std::min(block_depth, depth - c)};
  }
};

// Sums of products over all pixels, for `blocks` blocks of `size` sums each: `add` adds one tile to one
// block's sums. The tiles are shared out among at most 64 partial sums, fewer where the weights are large.
// Returns [shares, blocks, size].
template <class T, class Add>
Tensor partial_sums(int64_t tiles, int64_t blocks, int64_t size, const Add& add) {
  constexpr int64_t kMostBytes = int64_t{32} << 20;
  const int64_t room = kMostBytes / (blocks * size * static_cast<int64_t>(sizeof(T)));
  const int64_t shares = std::max<int64_t>(1, std::min({tiles / 4, room, int64_t{64}}));
  Tensor partial = empty({shares, blocks, size}, {kDType<T>, kCpu});
  run_chunks(shares * blocks, [&](int64_t chunk) {
    T* const sums = partial.data<T>() + chunk * size;
    std::fill(sums, sums + size, T(0));
    const int64_t share = chunk / blocks;
    for (int64_t tile = tiles * share / shares; tile < tiles * (share + 1) / shares; ++tile)
      add(chunk % blocks, tile, sums);
  });
  return partial;
}

// Row `row` of gw's last axis = the sums over the shares of the partial sums, which it leaves in the first
// share: `run` neighbours from element m on stand there from place(row, m) on.
template <class T, class Place>
void collect(const Tensor& partial, const Tensor& gw, int64_t run, const Place& place) {
  constexpr int64_t kRun = 512;
  const int64_t shares = partial.size(0), size = partial.size(1) * partial.size(2);
  T* const sums = partial.data<T>();
  run_chunks(blocks_of(size, kRun), [&](int64_t chunk) {
    const int64_t first = chunk * kRun, count = std::min(kRun, size - first);
    std::array<double, kRun> totals{};
    for (int64_t share = 0; share < shares; ++share) {
      const T* const from = sums + share * size + first;
      for (int64_t i = 0; i < count; ++i) totals[static_cast<size_t>(i)] += static_cast<double>(from[i]);
    }
    for (int64_t i = 0; i < count; ++i) sums[first + i] = static_cast<T>(totals[static_cast<size_t>(i)]);
  });
  dispatch(gw.dtype(), [&](auto s) {
    using S = decltype(s);
    const int64_t depth = gw.size(3);
    parallel_rows(kCpu, gw.numel() / depth, depth, [&](const Team&, int64_t row) {
      S* const to = gw.data<S>() + row * depth;
      for (int64_t m = 0; m < depth; m += run) {
        const T* const from = sums + place(row, m);
        const int64_t count = std::min(run, depth - m);
        for (int64_t i = 0; i < count; ++i) to[m + i] = static_cast<S>(static_cast<Arith<S>>(from[i]));
      }
    });
  });
}

template <class T>
void weight_gradient_in(const Conv2dProblem& s, const Convolution& c, const Tensor& gw) {
  const Tiles& tiles = tiles_for(s.dtype);
  const Grid grid(tiles.products.columns, s.P, s.Q, s.stride, 48, s.dtype);
  if (is_depthwise(s)) {
    const int64_t step = cpu::isa()->depthwise_channels;
    const Tensor partial = partial_sums<T>(
        s.N * grid.count(), blocks_of(s.K, step), s.kH * s.kW * step,
        [&](int64_t block, int64_t index, T* sums) {
          Tile tile = grid.at(index);
          tile.group = block * step;
          tiles.depthwise_weight_gradient(c, tile, sums, scratch(tiles.depthwise_scratch(c, tile)).raw());
        });
    collect<T>(partial, gw, 1, [&](int64_t row, int64_t) {
      const int64_t tap = row % (s.kH * s.kW), k = row / (s.kH * s.kW);
      return (k / step * s.kH * s.kW + tap) * step + k % step;
    });
    return;
  }
  const Blocks blocks(s.groups, c.width, c.depth, s.kW);
  const WeightBlock largest = blocks.at(0);
  const int64_t size = s.kH * tiles.weight_rows(largest) * tiles.weight_run(c, largest);
  const Tensor partial =
      partial_sums<T>(s.N * grid.count(), blocks.count(), size, [&](int64_t block, int64_t index, T* sums) {
        const Tile tile = grid.at(index);
        const WeightBlock b = blocks.at(block);
        tiles.weight_gradient(c, b, tile, sums, scratch(tiles.weight_scratch(c, b, tile)).raw());
      });
  collect<T>(partial, gw, blocks.block_depth, [&](int64_t row, int64_t m) {
    const int64_t j = row % s.kW, i = row / s.kW % s.kH, k = row / (s.kW * s.kH) % c.width,
                  group = row / (s.kW * s.kH * c.width);
    const int64_t block =
        (group * blocks.down() + k / blocks.block_width) * blocks.across() + m / blocks.block_depth;
    const WeightBlock b = blocks.at(block);
    return block * size + (i * tiles.weight_rows(b) + k - b.k) * tiles.weight_run(c, b) + j * b.depth;
  });
}

void weight_gradient(const Conv2dProblem& problem, const Tensors& inputs, const Tensor& gz,
                     const Tensor& gw) {
  const Conv2dProblem s = simplified(problem);
  const Concatenation source(inputs), target(gz);
  const Convolution c = window_of(s, source.pictures(s.H, s.W), target.pictures(s.P, s.Q), {});
  if (s.dtype == DType::f64)
    weight_gradient_in<double>(s, c, gw);
  else
    weight_gradient_in<float>(s, c, gw);
}

bool takes(const Conv2dProblem& s) {
  return cpu::isa() != nullptr && s.C > 0 && s.kH <= kLargestKernel && s.kW <= kLargestKernel &&
         simplified(s).stride <= kLongestStride;
}

// Not for the few channels of the first and last layer of a network and not for a single pixel, which is a
// mean, as attention has it: they take little time, and all that follows depends on them.
bool pairs_take(const Conv2dProblem& s) {
  constexpr int64_t kFew = 8;
  const bool wanted = wanted_kernels() == "pairs";
  const bool asked = s.precision == Precision::fp32 || s.precision == Precision::bf16;
  if (!takes(s) || cpu::isa()->pairs == nullptr || s.dtype != DType::f32 || !asked) return false;
  if (s.C < kFew * s.groups || s.K < kFew * s.groups || s.W == 1 || s.Q == 1) return false;
  if (wanted || cpu::isa()->pairs->tiles) return true;
  return s.precision == Precision::bf16 && !cpu::winograd_takes(s);
}

// Sums over all pixels of products of numbers that are rounded as coarsely gain little time where they are
// stored as f32, so these are of f32.
void exact_weight_gradient(const Conv2dProblem& problem, const Tensors& inputs, const Tensor& gz,
                           const Tensor& gw) {
  Conv2dProblem s = problem;
  s.precision = Precision::exact;
  conv2d_kernels().pick(gw.device(), s).weight_gradient(s, inputs, gz, gw);
}

}  // namespace

const Conv2dKernels cpu::kTileKernels = {"tiles",
                                         takes,
                                         forward<direct>,
                                         input_gradient<direct>,
                                         weight_gradient,
                                         separable<direct>,
                                         forward_onto<direct>};
const Conv2dKernels cpu::kPairKernels = {
    "pairs",           pairs_take,          forward<paired>, input_gradient<paired>, exact_weight_gradient,
    separable<paired>, forward_onto<paired>};

void cpu::add_tiles(KernelTable<Conv2dKernels>& table) { table.set(Device::Type::cpu, kTileKernels); }

void cpu::add_pairs(KernelTable<Conv2dKernels>& table) { table.set(Device::Type::cpu, kPairKernels); }

}  // namespace lux
