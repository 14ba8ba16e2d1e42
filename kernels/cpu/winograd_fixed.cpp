// Winograd's convolution with whole numbers of 16 bits at the points: an instruction multiplies two pairs of
// them and adds both products to a sum of 32 bits, twice as many as it would of f32. A tile has one scale for
// all of its points and channels; an output has one for each point and pass over the channels. They are as
// fine as they can be with no sum overflowing: what a point can be follows from the largest pixel of its
// tile, and what a sum can be from that and from the absolute weights. bf16 at the points would be at
// least nine times as wrong, because the transforms cost two of its eight bits.
//
// Compiled for processors of level v4 with AVX512_VNNI. The namespace `lux` is renamed as in tiles.cpp.
#include "luxgrad/kernels/cpu/winograd_tiles.h"

namespace {

using lux::cpu::Winograd;
using Whole = int16_t;
// NOLINTBEGIN(modernize-use-using): vector types are written so
typedef int32_t Sums32 __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
typedef Whole Wholes __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));
// NOLINTEND(modernize-use-using)
constexpr int64_t kInFloat = sizeof(float) / sizeof(Whole);

// Channels whose products share 32 bits: more of them would leave fewer bits to each.
constexpr int64_t kSharing = 64;
// Of a pixel at a point, a little less than fits, for rounding in f32; and of a sum.
constexpr float kLargest = 32760;
constexpr float kLargestWhole = 32767, kLargestSum = 2147483520;  // the largest f32 below 2^31

// A pixel at a point is at most so many times the largest of its tile.
template <class G>
constexpr float reach(int64_t point) {
  return static_cast<float>(G::kReach[point / G::kAt] * G::kReach[point % G::kAt]);
}
// At the point that weights are multiplied with.
template <class G>
constexpr float reach_of_weights(int64_t plane) {
  const auto source = [](int64_t weights) {
    int product = 0;
    while (G::kWeight[product] != weights) ++product;
    return G::kSource[product];
  };
  return reach<G>(int64_t{source(plane / G::kWeights)} * G::kAt + source(plane % G::kWeights));
}

// kLargest / reach, by which a pixel at a point is multiplied once the largest of the tile has divided it.
template <class G>
struct Factors {
  static constexpr int kPlanes = G::kAt * G::kAt, kCount = (kPlanes + kWide - 1) / kWide * kWide;
  alignas(64) float at[kCount];

  constexpr Factors() : at{} {
    for (int point = 0; point < kPlanes; ++point) at[point] = kLargest / reach<G>(point);
  }
};
template <class G>
constexpr Factors<G> kFactors;

// The largest absolute pixels stand behind the points.
int64_t largest_at(const Points& p) { return round_up(p.size(), 32); }
int64_t points_bytes(const Convolution& c, int64_t tiles) {
  return scratch_bytes<Whole>(largest_at(source_points(c, tiles))) + bytes_of<float>(tiles);
}
int64_t sums_bytes(const Convolution& c, int64_t tiles) {
  return scratch_bytes<float>(target_points(c, tiles).size());
}
float* largest_of(const Points& p, void* points) { return aligned<float>(points) + largest_at(p) / kInFloat; }

// Absolute values compare as whole numbers, and those that are none are the largest.
inline Sums32 magnitude(Lanes x) { return reinterpret_cast<Sums32>(x) & 0x7FFFFFFF; }
inline Sums32 larger_of(Sums32 a, Sums32 b) { return a > b ? a : b; }

template <int kRows>
Sums32 largest_in_column(const Strip& s, int64_t w) {
  Lanes d[kRows];
  load_column<kRows>(s, w, d);
  Sums32 most = magnitude(d[0]);
  LUX_UNROLL
  for (int i = 1; i < kRows; ++i) most = larger_of(most, magnitude(d[i]));
  return most;
}

// Of a tile; where that is no finite number the pixels become 0, and the outputs 0 · ∞, which is none.
inline float largest_lane(Sums32 most) {
  int32_t bits = 0;
  for (int lane = 0; lane < kWide; ++lane) bits = most[lane] > bits ? most[lane] : bits;
  return __builtin_bit_cast(float, bits);
}

// Of the tiles of a run, in a vector of channels; `most` is what others have.
template <class G>
void largest_in_run(const Strip& s, int64_t w, int64_t tiles, Sums32* most) {
  constexpr int kIn = G::kIn, kStep = G::kStep, kShared = kIn - kStep;
  Sums32 column[kIn];
  LUX_UNROLL
  for (int j = 0; j < kShared; ++j) column[j] = largest_in_column<kIn>(s, w + j);
  for (int64_t tile = 0; tile < tiles; ++tile, w += kStep) {
    LUX_UNROLL
    for (int j = kShared; j < kIn; ++j) column[j] = largest_in_column<kIn>(s, w + j);
    LUX_UNROLL
    for (int j = 0; j < kIn; ++j) most[tile] = larger_of(most[tile], column[j]);
    LUX_UNROLL
    for (int j = 0; j < kShared; ++j) column[j] = column[j + kStep];
  }
}

// Of all tiles in `some`, counted from the first of the range.
template <class G>
void measure_tiles(const Convolution& c, const TileRange& some, float* largest, void* scratch) {
  constexpr int64_t kMost = 32;
  each_run(c, some, [&](const Run& all) {
    for (int64_t done = 0; done < all.count; done += kMost) {
      const Run run{all.n, all.row, all.column + done * kOut, smaller(kMost, all.count - done),
                    all.index + done};
      Sums32 most[kMost];
      for (int64_t tile = 0; tile < run.count; ++tile) most[tile] = Sums32{};
      for (int64_t ch = 0; ch < c.groups * c.depth; ch += kWide) {
        const Region region = region_of<G>(c, run, ch);
        largest_in_run<G>(strip_of(c.source, run.n, region, aligned<float>(scratch)), region.column,
                          run.count, most);
      }
      for (int64_t tile = 0; tile < run.count; ++tile) largest[run.index + tile] = largest_lane(most[tile]);
    }
  });
}

void measure(const Convolution& c, const TileRange& range, const TileRange& some, void* source,
             void* scratch) {
  with_geometry(c, [&](auto geometry) {
    measure_tiles<decltype(geometry)>(c, {range.first + some.first, some.count},
                                      largest_of(source_points(c, range.count), source) + some.first,
                                      scratch);
  });
}

// The nearest whole number: the last bits of x + 3 · 2^22, where these are 16 at most.
inline Sums32 whole(Lanes x) {
  constexpr float kShift = 3 << 22;
  return reinterpret_cast<Sums32>(x + (kShift - Lanes{}));
}

// Values of a tile at the points as whole numbers.
template <class G>
class InWholes {
 public:
  InWholes(Whole* to, const Points& p, const float* largest) : to_(to), p_(p), largest_(largest) {}

  void begin(int64_t tile) {
    const float each = 1 / largest_[tile];
    LUX_UNROLL
    for (int m = 0; m < Factors<G>::kCount; m += kWide)
      store<float>(factors_ + m, load(kFactors<G>.at + m) * each);
  }
  void operator()(int64_t tile, int64_t, int point, Lanes value) const {
    *reinterpret_cast<Wholes*>(to_ + tile * p_.tile + point * p_.point) =
        __builtin_convertvector(whole(value * factors_[point]), Wholes);
  }

 private:
  Whole* to_;
  const Points& p_;
  const float* largest_;
  alignas(64) float factors_[Factors<G>::kCount] = {};
};

void source_to_points(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                      void* points, void* scratch) {
  const Points p = source_points(c, range.count);
  const float* const largest = largest_of(p, points);
  Whole* const to = aligned<Whole>(points);
  with_geometry(c, [&](auto geometry) {
    using G = decltype(geometry);
    each_run(c, range, [&](const Run& run) {
      for (int64_t ch = channels.begin; ch < channels.end; ch += kWide) {
        const Region region = region_of<G>(c, run, ch);
        const Strip strip = strip_of(c.source, run.n, region, aligned<float>(scratch));
        transform_source<G, 1, 0>(&strip, region.column, run.count,
                                  InWholes<G>(to + run.index * p.tile + ch, p, largest + run.index));
      }
    });
  });
}

// Weights of a group at one point, and of all groups with a bit more, as for f32.
int64_t whole_group(const Convolution& c) { return round_up(c.depth, 2) * round_up(c.width, kWide); }
int64_t whole_point(const Convolution& c) { return c.groups * whole_group(c) + 32; }
int64_t passes_of(const Convolution& c) { return (c.depth + kSharing - 1) / kSharing; }
// Scales of a pass over the channels of a group at one point: [outputs].
int64_t scales_at(const Convolution& c, int64_t group, int64_t pass, int64_t point) {
  return ((group * passes_of(c) + pass) * planes_of(c).weights + point) * round_up(c.width, kWide);
}
const float* scales_of(const Convolution& c, const void* packed) {
  return aligned<const float>(const_cast<void*>(packed)) + planes_of(c).weights * whole_point(c) / kInFloat;
}

int64_t packed_bytes(const Convolution& c) {
  return scratch_bytes<Whole>(planes_of(c).weights * whole_point(c)) +
         bytes_of<float>(scales_at(c, c.groups, 0, 0));
}

// One point of kWide outputs and some channels, `step` apart: their scales, and the weights in pairs.
void pack_point(const float* u, int64_t step, int64_t channels, float reach, float* scales, Whole* to,
                int64_t lanes) {
  constexpr float kRounding = 1 - 1e-5F;
  const float most = kRounding * (kLargestSum / kLargestWhole - static_cast<float>(channels) / 2 - 1);
  Lanes sum{}, largest{};
  for (int64_t m = 0; m < channels; ++m) {
    const auto size = reinterpret_cast<Lanes>(magnitude(load(u + m * step)));
    sum += size;
    largest = size > largest ? size : largest;
  }
  const Lanes by_sum = sum / most, by_largest = largest / (kRounding * kLargestWhole);
  const Lanes scale = by_largest > by_sum ? by_largest : by_sum;  // none at all if the sum is
  const Lanes each = sum > Lanes{} ? 1.F / scale : Lanes{};
  store<float>(scales, scale * (reach / kLargest));
  for (int64_t m = 0; m < channels; m += 2, to += 2 * lanes) {
    const Sums32 one = whole(load(u + m * step) * each) & 0xFFFF;
    const Sums32 two = m + 1 < channels ? whole(load(u + (m + 1) * step) * each) << 16 : Sums32{};
    *reinterpret_cast<Sums32*>(to) = one | two;
  }
}

// Outputs [k0, k0 + lanes) of a group, channels [c0, c0 + channels) of a pass: [pairs of channels, lanes, 2].
template <class G>
void pack_block(const Convolution& c, const Weights& w, int64_t group, int64_t k0, int64_t lanes, int64_t c0,
                int64_t channels, Whole* to, float* scales) {
  constexpr int kPlanes = G::kWeights * G::kWeights, kTaps = G::kTaps * G::kTaps;
  constexpr int64_t kStep = int64_t{kPlanes} * kWide;
  float u[kSharing * kStep];
  for (int64_t k = k0; k < k0 + lanes; k += kWide) {
    for (int64_t ch = 0; ch < channels; ch += kGather) {
      double taps[kGather * kTaps * kWide];
      const int64_t count = smaller(kGather, channels - ch);
      gather_weights(c, w, group, k, c0 + ch, count, taps);
      for (int64_t m = 0; m < count; ++m)
        filter_to_points<G>(taps + m * kTaps * kWide, u + (ch + m) * kStep, kWide);
    }
    for (int64_t plane = 0; plane < kPlanes; ++plane)
      pack_point(u + plane * kWide, kStep, channels, reach_of_weights<G>(plane),
                 scales + scales_at(c, group, c0 / kSharing, plane) + k,
                 to + plane * whole_point(c) + (k - k0) * 2, lanes);
  }
}

// For each point, each group, each pass, each register block.
void pack(const Convolution& c, const Weights& w, int64_t slice, int64_t slices, void* packed) {
  const int64_t width = round_up(c.width, kWide);
  Whole* const wholes = aligned<Whole>(packed);
  float* const scales = const_cast<float*>(scales_of(c, packed));
  int64_t block = 0;
  for (int64_t group = 0; group < c.groups; ++group) {
    int64_t lanes = 0;
    for (int64_t k0 = 0; k0 < width; k0 += lanes, ++block) {
      lanes = int64_t{next_vectors((width - k0) / kWide)} * kWide;
      if (block % slices != slice) continue;
      for (int64_t c0 = 0; c0 < c.depth; c0 += kSharing) {
        const int64_t channels = smaller(kSharing, c.depth - c0);
        Whole* const to = wholes + group * whole_group(c) + c0 * width + round_up(channels, 2) * k0;
        with_geometry(c, [&](auto geometry) {
          pack_block<decltype(geometry)>(c, w, group, k0, lanes, c0, channels, to, scales);
        });
      }
    }
  }
}

// Spelled out, because GCC 12 would carry sums through memory.
inline void add_products(Sums32& sum, Sums32 pixel, Sums32 weights) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(pixel));
}
inline int32_t pair_at(const Whole* x) {
  int32_t bits = 0;
  __builtin_memcpy(&bits, x, sizeof bits);
  return bits;
}

// kSums / V tiles times V vectors of outputs.
template <int V, bool kAdd>
[[gnu::noinline]] void multiply_block(const Whole* x, int64_t x_step, const Whole* w, int64_t pairs,
                                      const float* scales, float* y, int64_t y_step) {
  constexpr int kRows = kSums / V;
  constexpr int64_t kPairs = int64_t{2} * kWide;  // a vector of weights
  Sums32 sums[kRows][V];
  LUX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LUX_UNROLL
    for (int v = 0; v < V; ++v) sums[r][v] = Sums32{};
  }
  for (int64_t pair = 0; pair < pairs; ++pair) {
    Sums32 weights[V];
    LUX_UNROLL
    for (int v = 0; v < V; ++v) weights[v] = *reinterpret_cast<const Sums32*>(w + v * kPairs);
    LUX_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Sums32 pixel = Sums32{} + pair_at(x + r * x_step);
      LUX_UNROLL
      for (int v = 0; v < V; ++v) add_products(sums[r][v], pixel, weights[v]);
    }
    x += 2;
    w += V * kPairs;
  }
  LUX_UNROLL
  for (int v = 0; v < V; ++v) {
    const Lanes scale = load(scales + int64_t{v} * kWide);
    LUX_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float* const to = y + r * y_step + int64_t{v} * kWide;
      const Lanes sum = __builtin_convertvector(sums[r][v], Lanes) * scale;
      store<float>(to, kAdd ? load(to) + sum : sum);
    }
  }
}

template <int V>
void multiply_block(bool add, const Whole* x, int64_t x_step, const Whole* w, int64_t pairs,
                    const float* scales, float* y, int64_t y_step) {
  add ? multiply_block<V, true>(x, x_step, w, pairs, scales, y, y_step)
      : multiply_block<V, false>(x, x_step, w, pairs, scales, y, y_step);
}

// The vectors of a group run into the sums of the next, which is why that comes later.
void multiply(const Convolution& c, const TileRange& range, int64_t index, const void* source, void* sums) {
  const Points p = source_points(c, range.count), q = target_points(c, range.count);
  const Product product = product_of(c, index);
  const Whole* const wholes =
      aligned<const Whole>(const_cast<void*>(c.weights)) + product.weights * whole_point(c);
  const int64_t width = round_up(c.width, kWide);
  for (int64_t group = 0; group < c.groups; ++group) {
    const Whole* const xs =
        aligned<const Whole>(const_cast<void*>(source)) + product.source * p.point + group * c.depth;
    float* const ys = aligned<float>(sums) + index * q.point + group * c.width;
    for (int64_t c0 = 0; c0 < c.depth; c0 += kSharing) {
      const int64_t pairs = (smaller(kSharing, c.depth - c0) + 1) / 2;
      const Whole* const weights = wholes + group * whole_group(c) + c0 * width;
      const float* const scales =
          scales_of(c, c.weights) + scales_at(c, group, c0 / kSharing, product.weights);
      int vectors = 0;
      for (int64_t k = 0; k < width; k += int64_t{vectors} * kWide) {
        vectors = next_vectors((width - k) / kWide);
        const auto run = vectors == 1   ? multiply_block<1>
                         : vectors == 2 ? multiply_block<2>
                                        : multiply_block<3>;
        for (int64_t tile = 0; tile < range.count; tile += kSums / vectors)
          run(c0 > 0, xs + tile * p.tile + c0, p.tile, weights + pairs * 2 * k, pairs, scales + k,
              ys + tile * q.tile + k, q.tile);
      }
    }
  }
}

// The largest pixel of a tile, by which the sums stand divided.
struct ByLargest {
  const float* largest;

  Lanes operator()(int64_t tile, Lanes y, Lanes shift) const { return y * largest[tile] + shift; }
  Lanes operator()(int64_t tile, Lanes y) const { return y * largest[tile]; }
};

void points_to_target(const Convolution& c, const TileRange& range, const ChannelRange& channels,
                      const void* source, const void* sums, void* scratch) {
  const ByLargest scaled{largest_of(source_points(c, range.count), const_cast<void*>(source))};
  with_geometry(c, [&](auto geometry) {
    sums_to_target<decltype(geometry)>(c, range, channels, sums, scaled, scratch);
  });
}

}  // namespace

extern "C" {
extern const Winograd LUX_JOIN(lux_fixed_, LUX_ISA);
const Winograd LUX_JOIN(lux_fixed_, LUX_ISA) = {
    .products = products,
    .tile_bytes = tile_bytes<Whole>,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .points_bytes = points_bytes,
    .sums_bytes = sums_bytes,
    .scratch = strip_scratch,
    .measure = measure,
    .source_to_points = source_to_points,
    .multiply = multiply,
    .points_to_target = points_to_target,
    .target_to_points = nullptr,
    .weight_sums_bytes = nullptr,
    .add_products = nullptr,
    .points_to_weights = nullptr,
};
}
