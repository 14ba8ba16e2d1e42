// Winograd's convolution on the CPU: 3x3 with stride 1, a quarter of the products of the direct sum, and
// transposed with a stride of 2, which is the gradient of one with that stride, six to seven tenths of them.
// Many tiles are cut into ranges that stay in the second cache level on their way through all three steps,
// one task each; few tiles go through one step after the other, cut by channels and points, so that large
// weights are read once. How the work is cut depends on the shape only, never on the threads.
#include <algorithm>
#include <cstring>

#include "luxgrad/kernels/cpu/conv2d_host.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

using cpu::ChannelRange;
using cpu::Concatenation;
using cpu::Convolution;
using cpu::Part;
using cpu::Pictures;
using cpu::scratch;
using cpu::TileRange;
using cpu::Weights;
using cpu::Winograd;
using detail::blocks_of;

constexpr int64_t kTile = 4;                           // outputs along one axis
constexpr int64_t kPoints = 36;                        // of the weight gradient
constexpr int64_t kSlice = 32;                         // channels per task, where a step is cut by channels
constexpr int64_t kEnoughRanges = 16, kFewRanges = 6;  // fewer would leave threads without work
constexpr int64_t kSmallWeights = 1 << 20;             // bytes: so many may be read anew for every range
constexpr int64_t kMostBytes = int64_t{32} << 20;      // of points or of partial sums in use at a time

// Which numbers stand at the points.
using WayOf = const Winograd&();
const Winograd& in_floats() { return *cpu::isa()->winograd; }
const Winograd& in_wholes() { return *cpu::isa()->pairs->fixed; }

// How the tiles of all pictures are cut.
struct Cut {
  int64_t tiles, range;  // range: tiles of one task
  bool many;             // `enough` ranges, each of which goes through all steps and reads all weights

  Cut(const Winograd& w, int64_t N, const Convolution& c, int64_t enough)
      : tiles(N * blocks_of(c.target.H, kTile) * blocks_of(c.target.W, kTile)) {
    constexpr int64_t kCache = 256 << 10;
    const int64_t unit = cpu::isa()->f32.products.columns, bytes = w.tile_bytes(c);
    const int64_t least = 24 / unit * unit, most = 96 / unit * unit;
    range = std::clamp(kCache / bytes / unit * unit, least, most);
    many = count() >= enough;
    if (!many) range = std::clamp(kMostBytes / bytes / unit * unit, most, tiles + most);
  }
  int64_t count() const { return blocks_of(tiles, range); }
  TileRange at(int64_t index) const { return {index * range, std::min(range, tiles - index * range)}; }
};

ChannelRange source_channels(const Convolution& c) { return {0, c.groups * c.depth}; }
ChannelRange target_channels(const Convolution& c) { return {0, c.groups * c.width}; }

struct Memory {
  cpu::Scratch source, target, strip;

  Memory(const Winograd& w, const Convolution& c, const TileRange& range)
      : source(scratch(w.points_bytes(c, range.count))),
        target(scratch(w.sums_bytes(c, range.count))),
        strip(scratch(w.scratch(c, range))) {}
};

// step(slice of the channels, scratch), for all channels.
template <class Step>
void run_slices(const Winograd& w, const Convolution& c, const TileRange& range, const ChannelRange& all,
                const Step& step) {
  run_chunks(blocks_of(all.end, kSlice), [&](int64_t chunk) {
    const auto strip = scratch(w.scratch(c, range));
    step(ChannelRange{chunk * kSlice, std::min(all.end, (chunk + 1) * kSlice)}, strip.raw());
  });
}

void measure_all(const Winograd& w, const Convolution& c, const TileRange& range, void* source) {
  constexpr int64_t kSome = 32;
  run_chunks(blocks_of(range.count, kSome), [&](int64_t chunk) {
    const int64_t first = chunk * kSome;
    const auto strip = scratch(w.scratch(c, range));
    w.measure(c, range, {first, std::min(kSome, range.count - first)}, source, strip.raw());
  });
}

// The weights at the points.
Tensor packed(const Winograd& w, const Convolution& c, const Tensor& weight, const Weights& order,
              bool keep) {
  const int64_t first = static_cast<const float*>(order.data) - weight.data<float>();
  const bool wholes = w.measure != nullptr;
  const DerivedKey key{wholes ? kFixedPoints : kWinogradPoints,
                       c.groups,
                       c.kH,
                       c.kW,
                       c.depth,
                       c.width,
                       order.k,
                       order.i,
                       order.j,
                       order.c,
                       order.group,
                       first};
  return derived_weights(weight, key, keep, [&] {
    Tensor to = cpu::kept(w.packed_bytes(c));
    const int64_t slices = std::clamp<int64_t>(w.packed_bytes(c) >> 16, 1, 64);
    run_chunks(slices, [&](int64_t slice) { w.pack(c, order, slice, slices, to.raw()); });
    return to;
  });
}

Cut forward_cut(const Winograd& w, int64_t N, const Convolution& c) {
  const bool small_weights = w.packed_bytes(c) <= kSmallWeights;
  return {w, N, c, small_weights ? kFewRanges : kEnoughRanges};
}

void convolve(const Winograd& w, int64_t N, Convolution c, const Tensor& weight, const Weights& order) {
  const bool keep = worth_keeping(N * c.target.H * c.target.W);
  const int64_t products = w.products(c);
  const Tensor points = packed(w, c, weight, order, keep);
  c.weights = points.raw();
  const Cut cut = forward_cut(w, N, c);
  const ChannelRange all_source = source_channels(c), all_target = target_channels(c);
  if (cut.many) {
    run_chunks(cut.count(), [&](int64_t chunk) {
      const TileRange range = cut.at(chunk);
      const Memory m(w, c, range);
      if (w.measure != nullptr) w.measure(c, range, {0, range.count}, m.source.raw(), m.strip.raw());
      w.source_to_points(c, range, all_source, m.source.raw(), m.strip.raw());
      for (int64_t product = 0; product < products; ++product)
        w.multiply(c, range, product, m.source.raw(), m.target.raw());
      w.points_to_target(c, range, all_target, m.source.raw(), m.target.raw(), m.strip.raw());
    });
    return;
  }
  for (int64_t index = 0; index < cut.count(); ++index) {
    const TileRange range = cut.at(index);
    const Memory m(w, c, range);
    if (w.measure != nullptr) measure_all(w, c, range, m.source.raw());
    run_slices(w, c, range, all_source, [&](const ChannelRange& channels, void* strip) {
      w.source_to_points(c, range, channels, m.source.raw(), strip);
    });
    run_chunks(products,
               [&](int64_t product) { w.multiply(c, range, product, m.source.raw(), m.target.raw()); });
    run_slices(w, c, range, all_target, [&](const ChannelRange& channels, void* strip) {
      w.points_to_target(c, range, channels, m.source.raw(), m.target.raw(), strip);
    });
  }
}

Convolution convolution(const Pictures& source, const Pictures& target, const Conv2dProblem& s) {
  return {.source = source,
          .target = target,
          .kH = 3,
          .kW = 3,
          .top = s.top,
          .left = s.left,
          .depth = s.C / s.groups,
          .width = s.K / s.groups,
          .groups = s.groups};
}
Convolution convolution(const Concatenation& source, const Concatenation& target, const Conv2dProblem& s) {
  return convolution(source.pictures(s.H, s.W), target.pictures(s.P, s.Q), s);
}

// What `convolve` takes of memory.
int64_t bytes_of(const Winograd& w, int64_t N, const Convolution& c) {
  const Cut cut = forward_cut(w, N, c);
  const TileRange range = cut.at(0);
  const int64_t points = w.points_bytes(c, range.count) + w.sums_bytes(c, range.count);
  const int64_t strips = std::min<int64_t>(num_threads(), cut.many ? cut.count() : num_threads());
  return w.packed_bytes(c) + (cut.many ? strips : 1) * points + strips * w.scratch(c, range);
}

template <WayOf kWay>
int64_t working_bytes(const Conv2dProblem& s) {
  const Part x{nullptr, s.C}, y{nullptr, s.K};
  return bytes_of(kWay(), s.N, convolution({&x, 1, s.H, s.W}, {&y, 1, s.P, s.Q}, s));
}

template <WayOf kWay>
void forward_onto(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
                  const Tensor& skip, const Tensor& y) {
  const Concatenation source(inputs), target(y);
  Convolution c = convolution(source, target, s);
  c.skip = skip.defined() ? skip.raw() : nullptr;
  c.bias = bias.defined() ? bias.raw() : nullptr;
  c.activation = static_cast<uint8_t>(s.activation);
  c.slope = s.slope;
  convolve(kWay(), s.N, c, weight,
           {weight.raw(), 9 * c.depth, 3 * c.depth, c.depth, 1, c.width * 9 * c.depth});
}

template <WayOf kWay>
void forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  forward_onto<kWay>(s, inputs, weight, bias, {}, y);
}

// The convolution of gz with the weights turned around, and inputs and outputs exchanged.
template <WayOf kWay>
void input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                    const std::vector<int64_t>& channels, const Tensors& gx) {
  const Concatenation source(gz), target(gx, channels);
  Conv2dProblem back = s;
  back.H = s.P;
  back.W = s.Q;
  back.C = s.K;
  back.P = s.H;
  back.Q = s.W;
  back.K = s.C;
  back.top = 2 - s.top;
  back.left = 2 - s.left;
  const Convolution c = convolution(source, target, back);
  const float* const last = weight.data<float>() + 8 * c.width;
  convolve(kWay(), s.N, c, weight, {last, 1, -3 * c.width, -c.width, 9 * c.width, c.depth * 9 * c.width});
}

// Of a picture twice as large, its phases.
Convolution doubled_convolution(const Pictures& source, const Pictures& target, const Conv2dProblem& s) {
  return {.source = source,
          .target = target,
          .kH = s.kH,
          .kW = s.kW,
          .top = s.top,
          .left = s.left,
          .depth = s.K,
          .width = s.C,
          .doubled = true};
}

template <WayOf kWay>
int64_t transposed_bytes(const Conv2dProblem& s) {
  const Part x{nullptr, s.K}, y{nullptr, s.C};
  return bytes_of(kWay(), s.N, doubled_convolution({&x, 1, s.P, s.Q}, {&y, 1, s.H, s.W}, s));
}

// The transposed convolution of gz.
template <WayOf kWay>
void doubled(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight, const Tensor& bias,
             Activation activation, const Concatenation& target) {
  check((s.top - s.left) % 2 == 0, "winograd: expected rows from an even one on, got zeros ", s.top, " and ",
        s.left);
  const Concatenation source(gz);
  Convolution c = doubled_convolution(source.pictures(s.P, s.Q), target.pictures(s.H, s.W), s);
  c.bias = bias.defined() ? bias.raw() : nullptr;
  c.activation = static_cast<uint8_t>(activation);
  c.slope = s.slope;
  convolve(kWay(), s.N, c, weight, {weight.raw(), 1, s.kW * s.C, s.C, s.kH * s.kW * s.C});
}
template <WayOf kWay>
void doubled_input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                            const std::vector<int64_t>& channels, const Tensors& gx) {
  doubled<kWay>(s, gz, weight, {}, Activation::none, Concatenation(gx, channels));
}
template <WayOf kWay>
void transposed(const Conv2dProblem& s, const Tensor& x, const Tensor& weight, const Tensor& bias,
                const Tensor& y) {
  doubled<kWay>(s, x, weight, bias, s.activation, Concatenation(y));
}

// The products of a range of tiles are summed in registers and added to the sums of a share of the ranges;
// the shares are added in f64. Few tiles have one share, which is cut by points.
void weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz, const Tensor& gw) {
  constexpr int64_t kMostShares = 32, kEnoughShares = 8;
  const Winograd& w = in_floats();
  const Concatenation source(inputs), target(gz);
  const Convolution c = convolution(source, target, s);
  const Cut cut(w, s.N, c, kEnoughRanges);
  const int64_t bytes = w.weight_sums_bytes(c);
  const int64_t room = std::min(kMostShares, kMostBytes / bytes);
  const bool shared = cut.many && room >= kEnoughShares;
  const int64_t shares = shared ? std::min(room, cut.count()) : 1;
  const auto sums = scratch(shares * bytes);
  char* const all = static_cast<char*>(sums.raw());
  const ChannelRange all_source = source_channels(c), all_target = target_channels(c);
  if (shared) {
    run_chunks(shares, [&](int64_t share) {
      void* const own = all + share * bytes;
      std::memset(own, 0, static_cast<size_t>(bytes));
      const Memory m(w, c, cut.at(0));
      for (int64_t index = cut.count() * share / shares; index < cut.count() * (share + 1) / shares;
           ++index) {
        const TileRange range = cut.at(index);
        w.source_to_points(c, range, all_source, m.source.raw(), m.strip.raw());
        w.target_to_points(c, range, all_target, m.target.raw(), m.strip.raw());
        for (int64_t point = 0; point < kPoints; ++point)
          w.add_products(c, range, point, m.source.raw(), m.target.raw(), own);
      }
    });
  } else {
    run_chunks(kPoints, [&](int64_t point) {
      std::memset(all + point * (bytes / kPoints), 0, static_cast<size_t>(bytes / kPoints));
    });
    for (int64_t index = 0; index < cut.count(); ++index) {
      const TileRange range = cut.at(index);
      const Memory m(w, c, range);
      run_slices(w, c, range, all_source, [&](const ChannelRange& channels, void* strip) {
        w.source_to_points(c, range, channels, m.source.raw(), strip);
      });
      run_slices(w, c, range, all_target, [&](const ChannelRange& channels, void* strip) {
        w.target_to_points(c, range, channels, m.target.raw(), strip);
      });
      run_chunks(kPoints, [&](int64_t point) {
        w.add_products(c, range, point, m.source.raw(), m.target.raw(), all);
      });
    }
  }
  run_chunks(s.K, [&](int64_t k) { w.points_to_weights(c, {k, k + 1}, all, shares, gw.data<float>()); });
}

bool can(const Conv2dProblem& s) {
  return cpu::isa() != nullptr && s.dtype == DType::f32 && s.kH == 3 && s.kW == 3 && s.stride == 1 &&
         s.C > 0 && !cpu::is_depthwise(s);
}

// Measured against the direct tiles: few channels leave lanes empty, small pictures leave tiles empty and do
// not pay for the transform of the weights.
bool pays(const Conv2dProblem& s) {
  const int64_t tiles = blocks_of(s.P, kTile) * blocks_of(s.Q, kTile);
  return s.C >= 8 * s.groups && s.K >= 8 * s.groups && 3 * s.P * s.Q >= tiles * kTile * kTile &&
         s.N * s.P * s.Q >= 64;
}

// A few pixels do not pay for weights at more points, nor few channels for the transforms.
bool takes_doubled(const Conv2dProblem& s) {
  const bool square = (s.kH == 3 || s.kH == 4) && s.kW == s.kH && (s.top - s.left) % 2 == 0;
  const bool can =
      cpu::isa() != nullptr && s.dtype == DType::f32 && square && s.stride == 2 && s.groups == 1 && s.C > 0;
  const bool pays = s.C >= 32 && s.K >= 32 && s.N * s.P * s.Q >= 64;
  return can && (wanted_kernels() == "winograd" || pays);
}

bool takes_single(const Conv2dProblem& s) { return can(s) && (wanted_kernels() == "winograd" || pays(s)); }

bool wants_wholes(const Conv2dProblem& s) {
  return s.precision == Precision::bf16 && cpu::isa() != nullptr && cpu::isa()->pairs != nullptr;
}
// Channels are taken in pairs, of one group.
bool takes_wholes(const Conv2dProblem& s) {
  return takes_single(s) && wants_wholes(s) && (s.groups == 1 || s.C / s.groups % 2 == 0);
}
bool takes_doubled_wholes(const Conv2dProblem& s) { return takes_doubled(s) && wants_wholes(s); }

}  // namespace

bool cpu::winograd_takes(const Conv2dProblem& s) { return takes_single(s) || takes_doubled(s); }

void cpu::add_winograd(KernelTable<Conv2dKernels>& table) {
  const auto set = [&table](const Conv2dKernels& kernels) { table.set(Device::Type::cpu, kernels); };
  set({.name = "winograd",
       .takes = takes_doubled,
       .forward = kTileKernels.forward,
       .input_gradient = doubled_input_gradient<in_floats>,
       .weight_gradient = kTileKernels.weight_gradient,
       .forward_onto = kTileKernels.forward_onto,
       .transposed = transposed<in_floats>,
       .transposed_bytes = transposed_bytes<in_floats>});
  set({.name = "winograd",
       .takes = takes_single,
       .forward = forward<in_floats>,
       .input_gradient = input_gradient<in_floats>,
       .weight_gradient = weight_gradient,
       .forward_onto = forward_onto<in_floats>,
       .working_bytes = working_bytes<in_floats>});
  set({.name = "fixed",
       .takes = takes_wholes,
       .forward = forward<in_wholes>,
       .input_gradient = input_gradient<in_wholes>,
       .weight_gradient = weight_gradient,
       .forward_onto = forward_onto<in_wholes>,
       .working_bytes = working_bytes<in_wholes>});
  set({.name = "fixed",
       .takes = takes_doubled_wholes,
       .forward = kPairKernels.forward,
       .input_gradient = doubled_input_gradient<in_wholes>,
       .weight_gradient = kPairKernels.weight_gradient,
       .forward_onto = kPairKernels.forward_onto,
       .transposed = transposed<in_wholes>,
       .transposed_bytes = transposed_bytes<in_wholes>});
}

}  // namespace lux
