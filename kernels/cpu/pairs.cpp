// Convolution by products of bf16 with sums of f32, one tile at a time: a band of the source is rounded to
// bf16 on its way into the cache, or parted into two bf16 of which the second is what the first leaves out;
// then matrices of pixels times matrices of weights, in which pixels overlap as they do in tiles.cpp.
//
// This file is compiled once for processors with tiles of AMX, whose instruction multiplies 16 pixels, of 32
// numbers each, with those of 16 outputs, and once for those with AVX512_BF16 only, which have a pixel's two
// numbers times those of 16 outputs. The namespace `lux` is renamed as in tiles.cpp.
#include <immintrin.h>

#include <cstring>

#include "luxgrad/kernels/cpu/band.h"
#include "luxgrad/kernels/cpu/block.h"
#include "luxgrad/tensor/dtype.h"

namespace {

using lux::cpu::Pairs;
using lux::cpu::Products;
using lux::cpu::Weights;

using Half = uint16_t;  // the bits of a bf16

constexpr int64_t kOutputs = 16;  // of a vector
constexpr int64_t kChunk = 32;    // products of an output that are taken together, in pairs
#if defined(__AMX_BF16__)
constexpr bool kTiles = true;
constexpr int64_t kStrip = 16;  // pixels of a block
#else
constexpr bool kTiles = false;
constexpr int64_t kStrip = 12;
#endif

// What a block multiplies. Numbers of pixels are in halves: `x_step` from pixel to pixel, `x_row` from row to
// row, `x_plane` from a number's first half to its second one.
struct Block {
  const Half* x[2];  // two strips of pixels
  int64_t x_step, x_row, x_plane;
  const Half* w;
  int64_t rows, run;  // of the kernel, and the products along one of them
  float* y[2];        // the sums of the strips
  int64_t y_step;
  // What is asked for meanwhile, so many bytes further after each pair of products, where there are no tiles.
  const char* ahead;
  int64_t ahead_step;
};

// A strip of the target, straight from the registers, where there are no tiles.
template <int kPlanes, class Sink>
void multiply_into(int64_t vectors, const Block& b, const Sink& y);

#if defined(__AMX_BF16__)

// The intrinsics of GCC 12 say of too little memory that they read it, so these say it themselves. The
// registers are 0 to 3 for sums, 4 and 5 for pixels, 6 and 7 for weights.
#define LUX_TILE_LOAD(tile, from, bytes) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"(bytes) : "memory")
#define LUX_TILE_STORE(tile, to, bytes) \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"(bytes) : "memory")
#define LUX_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::)
#define LUX_TILE_MULTIPLY(sums, pixels, weights) \
  asm volatile("tdpbf16ps %%tmm" #weights ", %%tmm" #pixels ", %%tmm" #sums ::)

// All eight registers as 16 rows of 64 bytes, for the thread that it lives on.
class TileRegisters {
 public:
  TileRegisters() {
    Configuration all{.palette = 1};
    for (int tile = 0; tile < 8; ++tile) {
      all.row_bytes[tile] = 64;
      all.rows[tile] = 16;
    }
    asm volatile("ldtilecfg %0" ::"m"(all));
  }
  ~TileRegisters() { asm volatile("tilerelease"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

 private:
  struct alignas(64) Configuration {
    uint8_t palette = 0, first_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  };
};

// Four tiles of sums: two strips times V vectors of outputs.
template <int kPlanes, int V, bool kAdd>
void multiply(const Block& b) {
  const int64_t y_bytes = b.y_step * 4, x_bytes = b.x_step * 2, w_bytes = 64;
  if constexpr (kAdd) {
    LUX_TILE_LOAD(0, b.y[0], y_bytes);
    LUX_TILE_LOAD(2, b.y[1], y_bytes);
    if constexpr (V == 2) {
      LUX_TILE_LOAD(1, b.y[0] + kOutputs, y_bytes);
      LUX_TILE_LOAD(3, b.y[1] + kOutputs, y_bytes);
    }
  } else {
    LUX_TILE_ZERO(0);
    LUX_TILE_ZERO(1);
    LUX_TILE_ZERO(2);
    LUX_TILE_ZERO(3);
  }
  constexpr int64_t kTile = kChunk * kOutputs;
  const auto load_pixels = [&](const Half* first, const Half* second) {
    LUX_TILE_LOAD(4, first, x_bytes);
    LUX_TILE_LOAD(5, second, x_bytes);
  };
  const auto load_weights = [&](const Half* w) {
    LUX_TILE_LOAD(6, w, w_bytes);
    if constexpr (V == 2) LUX_TILE_LOAD(7, w + kTile, w_bytes);
  };
  const auto add_products = [] {
    LUX_TILE_MULTIPLY(0, 4, 6);
    LUX_TILE_MULTIPLY(2, 5, 6);
    if constexpr (V == 2) {
      LUX_TILE_MULTIPLY(1, 4, 7);
      LUX_TILE_MULTIPLY(3, 5, 7);
    }
  };
  const Half* w = b.w;
  for (int64_t i = 0; i < b.rows; ++i) {
    const Half *x0 = b.x[0] + i * b.x_row, *x1 = b.x[1] + i * b.x_row;
    for (int64_t done = 0; done < b.run; done += kChunk) {
      load_weights(w);
      if constexpr (kPlanes == 2) {
        load_pixels(x0 + b.x_plane, x1 + b.x_plane);
        add_products();
        load_pixels(x0, x1);
        add_products();
        load_weights(w + V * kTile);
        add_products();
      } else {
        load_pixels(x0, x1);
        add_products();
      }
      x0 += kChunk;
      x1 += kChunk;
      w += kTile * V * kPlanes;
    }
  }
  LUX_TILE_STORE(0, b.y[0], y_bytes);
  LUX_TILE_STORE(2, b.y[1], y_bytes);
  if constexpr (V == 2) {
    LUX_TILE_STORE(1, b.y[0] + kOutputs, y_bytes);
    LUX_TILE_STORE(3, b.y[1] + kOutputs, y_bytes);
  }
}

// Operations of `rounds` rounds of products that depend on their own sums only.
double multiply_add(int64_t rounds, float* values) {
  const TileRegisters registers;
  LUX_TILE_ZERO(0);
  LUX_TILE_ZERO(1);
  LUX_TILE_ZERO(2);
  LUX_TILE_ZERO(3);
  LUX_TILE_ZERO(4);
  LUX_TILE_ZERO(5);
  LUX_TILE_ZERO(6);
  LUX_TILE_ZERO(7);
  for (int64_t round = 0; round < rounds; ++round) {
    LUX_TILE_MULTIPLY(0, 4, 6);
    LUX_TILE_MULTIPLY(1, 4, 7);
    LUX_TILE_MULTIPLY(2, 5, 6);
    LUX_TILE_MULTIPLY(3, 5, 7);
  }
  values[0] += 1;
  return static_cast<double>(rounds) * 4 * 16 * 16 * kChunk * 2;
}

#else

struct TileRegisters {};

using Sum = __m512;

inline __m512bh both(int32_t bits) { return reinterpret_cast<__m512bh>(_mm512_set1_epi32(bits)); }
inline __m512bh weights_at(const Half* w) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(reinterpret_cast<const void*>(w)));
}
inline int32_t pair_at(const Half* x) {
  int32_t bits = 0;
  std::memcpy(&bits, x, sizeof bits);
  return bits;
}

// One strip, whose sums begin at `before` where there are any.
template <int kPlanes, int V, bool kAdd, class Sink>
[[gnu::noinline]] void multiply_strip(const Block& b, const Half* x, const float* before, Sink y) {
  Sum sums[kStrip][V];
  LUX_UNROLL
  for (int r = 0; r < kStrip; ++r) {
    LUX_UNROLL
    for (int v = 0; v < V; ++v)
      sums[r][v] = kAdd ? _mm512_loadu_ps(before + r * b.y_step + v * kOutputs) : _mm512_setzero_ps();
  }
  constexpr int64_t kTile = kChunk * kOutputs;
  const int64_t step = b.x_step;
  const Half* w = b.w;
  const char* ahead = b.ahead;
  for (int64_t i = 0; i < b.rows; ++i) {
    const Half* xs = x + i * b.x_row;
    for (int64_t done = 0; done < b.run; done += kChunk) {
      const int64_t pairs = (smaller(kChunk, b.run - done) + 1) / 2;
      for (int64_t pair = 0; pair < pairs; ++pair) {
        __builtin_prefetch(ahead);
        ahead += b.ahead_step;
        const Half* const ws = w + pair * kOutputs * 2;
        const auto add_products = [&](const Half* pixels, const Half* from) {
          __m512bh weights[V];
          LUX_UNROLL
          for (int v = 0; v < V; ++v) weights[v] = weights_at(from + v * kTile);
          LUX_UNROLL
          for (int r = 0; r < kStrip; ++r) {
            const __m512bh pixel = both(pair_at(pixels + r * step));
            LUX_UNROLL
            for (int v = 0; v < V; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], pixel, weights[v]);
          }
        };
        if constexpr (kPlanes == 2) {
          add_products(xs + b.x_plane, ws);
          add_products(xs, ws);
          add_products(xs, ws + V * kTile);
        } else {
          add_products(xs, ws);
        }
        xs += 2;
      }
      w += kTile * V * kPlanes;
    }
  }
  LUX_UNROLL
  for (int r = 0; r < kStrip; ++r) {
    LUX_UNROLL
    for (int v = 0; v < V; ++v) y(r, v, sums[r][v]);
  }
}

template <int kPlanes, int V, bool kAdd>
void multiply(const Block& b) {
  for (int m = 0; m < (b.x[1] != b.x[0] ? 2 : 1); ++m)
    multiply_strip<kPlanes, V, kAdd>(b, b.x[m], b.y[m], Sums<float, false>{b.y[m], b.y_step});
}

template <int kPlanes, class Sink>
void multiply_into(int64_t vectors, const Block& b, const Sink& y) {
  vectors == 2 ? multiply_strip<kPlanes, 2, false>(b, b.x[0], nullptr, y)
               : multiply_strip<kPlanes, 1, false>(b, b.x[0], nullptr, y);
}

double multiply_add(int64_t rounds, float* values) {
  constexpr int kChains = 16;
  Sum sums[kChains];
  LUX_UNROLL
  for (int m = 0; m < kChains; ++m) sums[m] = _mm512_set1_ps(values[m]);
  const __m512bh none = both(0);
  for (int64_t round = 0; round < rounds; ++round) {
    LUX_UNROLL
    for (int m = 0; m < kChains; ++m) {
      sums[m] = _mm512_dpbf16_ps(sums[m], none, none);
      asm volatile("" : "+v"(sums[m]));
    }
  }
  LUX_UNROLL
  for (int m = 0; m < kChains; ++m) values[m] = _mm512_cvtss_f32(sums[m]);
  return static_cast<double>(rounds) * kChains * kOutputs * 4;
}

#endif

template <int kPlanes>
void multiply(int64_t vectors, bool add, const Block& b) {
  if (vectors == 2)
    add ? multiply<kPlanes, 2, true>(b) : multiply<kPlanes, 2, false>(b);
  else
    add ? multiply<kPlanes, 1, true>(b) : multiply<kPlanes, 1, false>(b);
}

// Channels per pass over a band: the weights of a block shall stay in the first cache level.
template <int kPlanes>
int64_t channels_per_pass(const Convolution& c) {
  constexpr int64_t kBytes = 40 << 10, kMost = 256;
  const int64_t chunk_bytes = bytes_of<Half>(kChunk * 2 * kOutputs * kPlanes) * larger(1, c.kH * c.kW);
  return smaller(kMost, larger(1, kBytes / chunk_bytes) * kChunk);
}

int64_t chunks_of(const Convolution& c, int64_t channels) {
  return round_up(c.kW * channels, kChunk) / kChunk;
}

// Halves of the weights of a pass with so many channels.
template <int kPlanes>
int64_t packed_size(const Convolution& c, int64_t channels) {
  return c.kH * chunks_of(c, channels) * kChunk * round_up(c.width, kOutputs) * kPlanes;
}

// Halves of the weights of the passes before channel c0, and of all where it is the depth.
template <int kPlanes>
int64_t packed_before(const Convolution& c, int64_t c0) {
  const int64_t pass = channels_per_pass<kPlanes>(c), rest = c0 % pass;
  return c0 / pass * packed_size<kPlanes>(c, pass) + (rest == 0 ? 0 : packed_size<kPlanes>(c, rest));
}

template <int kPlanes>
int64_t packed_bytes(const Convolution& c) {
  return bytes_of<Half>(packed_before<kPlanes>(c, c.depth));
}

// For each pass over the channels, for each block of outputs: [kH, chunks, planes, vectors, 16 pairs, 16
// outputs, 2].
template <int kPlanes>
void pack(const Convolution& c, const Weights& w, int64_t slice, int64_t slices, void* packed) {
  const int64_t width = round_up(c.width, kOutputs), pass = channels_per_pass<kPlanes>(c);
  const float* const from = static_cast<const float*>(w.data);
  for (int64_t c0 = 0; c0 < c.depth; c0 += pass) {
    const int64_t channels = smaller(pass, c.depth - c0), run = c.kW * channels;
    Half* const first = static_cast<Half*>(packed) + packed_before<kPlanes>(c, c0);
    const int64_t per_output = packed_size<kPlanes>(c, channels) / width;
    for (int64_t k0 = 0, block = 0; k0 < width; k0 += 2 * kOutputs, ++block) {
      if (block % slices != slice) continue;
      const int64_t outputs = smaller(2 * kOutputs, width - k0), plane = outputs * kChunk;
      Half* to = first + per_output * k0;
      for (int64_t row = 0; row < c.kH; ++row) {
        for (int64_t done = 0; done < run; done += kChunk, to += kPlanes * plane) {
          for (int64_t m = 0; m < kChunk; ++m) {
            const bool inside = done + m < run;
            const int64_t tap = (done + m) / channels, channel = c0 + (done + m) % channels;
            const float* const taps = from + k0 * w.k + row * w.i + tap * w.j + channel * w.c;
            for (int64_t k = 0; k < outputs; ++k) {
              const float value = inside && k0 + k < c.width ? taps[k * w.k] : 0.0F;
              const int64_t at =
                  k / kOutputs * kOutputs * kChunk + m / 2 * 2 * kOutputs + k % kOutputs * 2 + m % 2;
              const lux::bf16 high = value;
              to[at] = high.bits;
              if constexpr (kPlanes == 2) to[plane + at] = lux::bf16(value - high).bits;
            }
          }
        }
      }
    }
  }
}

// NOLINTBEGIN(modernize-use-using): vector types are written so
typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(64)));
// NOLINTEND(modernize-use-using)

// `count` numbers as bf16, and what these leave out in the second plane.
template <int kPlanes>
void convert(const float* from, Half* to, int64_t plane, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t left = count - i;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1U << left) - 1);
    const __m512 value = _mm512_maskz_loadu_ps(mask, from + i);
    const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
    _mm256_mask_storeu_epi16(to + i, mask, high);
    if constexpr (kPlanes == 2) {
      const auto kept =
          reinterpret_cast<__m512>(__builtin_convertvector(reinterpret_cast<Halves>(high), Words) << 16);
      const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value - kept));
      _mm256_mask_storeu_epi16(to + plane + i, mask, low);
    }
  }
}

// As load_band, for pixels that touch each other, with so many zeros behind them.
template <int kPlanes>
void load_planes(const Pictures& x, int64_t n, const Region& region, int64_t zeros, Half* band,
                 int64_t plane) {
  const int64_t size = region.pixels() * region.channels, kept = lies_inside(x, region) ? size : 0;
  for (int p = 0; p < kPlanes; ++p)
    std::memset(band + p * plane + kept, 0, static_cast<size_t>(bytes_of<Half>(size - kept + zeros)));
  each_piece<float>(x, n, region, [&](const Piece<float>& piece) {
    Half* const to = band + piece.pixel * region.channels + piece.channel;
    if (piece.step == piece.channels && piece.channels == region.channels)
      return convert<kPlanes>(piece.from, to, plane, piece.pixels * piece.channels);
    for (int64_t pixel = 0; pixel < piece.pixels; ++pixel)
      convert<kPlanes>(piece.from + pixel * piece.step, to + pixel * region.channels, plane, piece.channels);
  });
}

// Halves of a plane, with what a block may read behind its end, which is zero.
int64_t plane_size(const Convolution& c, const Tile& t, int64_t channels) {
  return round_up((seen_by(c, t, 0, 0).pixels() + kStrip * c.stride) * channels + kChunk, kChunk);
}

// How the pixels of a tile are strips: row by row, the last one of a row reaching beyond it.
struct Strips {
  int64_t across, count;

  explicit Strips(const Tile& t) : across((t.columns + kStrip - 1) / kStrip), count(t.rows * across) {}
  int64_t row(int64_t strip) const { return strip / across; }
  int64_t column(int64_t strip) const { return strip % across * kStrip; }
};

template <int kPlanes>
int64_t scratch(const Convolution& c, const Tile& t) {
  const int64_t sums = Strips(t).count * kStrip * round_up(c.width, kOutputs);
  const int64_t band = kPlanes * plane_size(c, t, smaller(channels_per_pass<kPlanes>(c), c.depth));
  return scratch_bytes<float>(sums) + bytes_of<Half>(band);
}

template <int kPlanes>
void convolve_at_once(const Convolution& c, const Tile& t, const char* ahead, void* scratch) {
  const int64_t width = round_up(c.width, kOutputs), pass = channels_per_pass<kPlanes>(c);
  const Strips strips(t);
  float* const sums = aligned<float>(scratch);
  Half* const band = reinterpret_cast<Half*>(sums + strips.count * kStrip * width);
  const Half* weights = static_cast<const Half*>(c.weights) + t.group * packed_before<kPlanes>(c, c.depth);
  [[maybe_unused]] const TileRegisters registers;
  const Straight<float> to = straight<float, float>(c, t, t.group * c.width, c.width, kStrip);
  const bool in_place = !kTiles && to.data != nullptr && c.depth <= pass;
  for (int64_t c0 = 0; c0 < c.depth; c0 += pass) {
    const Region region = seen_by(c, t, t.group * c.depth + c0, smaller(pass, c.depth - c0));
    const int64_t channels = region.channels, plane = plane_size(c, t, channels);
    // What is written in place reads no pixels behind the last.
    const int64_t zeros = in_place ? kChunk : plane - region.pixels() * channels;
    load_planes<kPlanes>(c.source, t.n, region, zeros, band, plane);
    const int64_t row = region.columns * channels, step = c.stride * channels;
    const int64_t per_output = packed_size<kPlanes>(c, channels) / width;
    for (int64_t k = 0; k < width; k += 2 * kOutputs) {
      Block b{.x = {},
              .x_step = step,
              .x_row = row,
              .x_plane = plane,
              .w = weights + per_output * k,
              .rows = c.kH,
              .run = c.kW * channels,
              .y = {},
              .y_step = width,
              .ahead = reinterpret_cast<const char*>(band),
              .ahead_step = 0};
      const int64_t vectors = smaller(2, (width - k) / kOutputs);
      if constexpr (!kTiles) {
        for (int64_t s = 0; s < strips.count && in_place; ++s) {
          const int64_t r = strips.row(s), q = smaller(strips.column(s), t.columns - kStrip);
          b.x[0] = band + r * c.stride * row + q * step;
          if (ahead != nullptr) {  // each block asks for its share
            const int64_t bytes = bytes_of<float>(t.columns * c.depth), count = strips.count * width;
            b.ahead = ahead + bytes * (k * strips.count + s * 2 * kOutputs) / count;
            b.ahead_step = bytes * 2 * kOutputs / count / (c.depth / 2);
          }
          const auto run = [&](const auto& y) {
            if (ahead != nullptr) y.ask_for(kStrip, vectors);
            multiply_into<kPlanes>(vectors, b, y);
          };
          if (to.skip == nullptr)
            run(to.outputs(c, t.group * c.width + k, r, q, k));
          else
            run(to.outputs_and_skip(c, t.group * c.width + k, r, q, k));
        }
      }
      for (int64_t strip = 0; strip < strips.count && !in_place; strip += 2) {
        for (int64_t m = 0; m < 2; ++m) {
          const int64_t s = smaller(strip + m, strips.count - 1);
          b.x[m] = band + strips.row(s) * c.stride * row + strips.column(s) * step;
          b.y[m] = sums + s * kStrip * width + k;
        }
        multiply<kPlanes>(vectors, c0 > 0, b);
      }
    }
    weights += packed_size<kPlanes>(c, channels);
  }
  if (in_place) return;
  store_tile<float>(c, t, t.group * c.width, c.width, sums, strips.across * kStrip * width, width);
}

// The pixels that follow in a row, where all of its channels are one part's; null where they are not.
inline const char* pixels_behind(const Convolution& c, const Tile& t) {
  if (c.source.count != 1 || c.groups != 1 || t.column + t.columns >= c.source.W) return nullptr;
  const int64_t pixel = (t.n * c.source.H + t.row) * c.source.W + t.column + t.columns;
  return static_cast<const char*>(c.source.parts->data) + bytes_of<float>(pixel * c.depth);
}

// Without tiles a pointwise convolution takes a few pixels at a time, and asks for the next ones meanwhile:
// it has too little to do with a pixel to wait for it.
template <int kPlanes>
void convolve(const Convolution& c, const Tile& t, void* scratch) {
  constexpr int64_t kFew = 4 * kStrip;
  if (kTiles || c.kH * c.kW > 1 || c.stride > 1 || t.rows > 1)
    return convolve_at_once<kPlanes>(c, t, nullptr, scratch);
  Tile piece = t;
  for (int64_t done = 0; done < t.columns; done += piece.columns) {
    piece.column = t.column + done;
    piece.columns = t.columns - done < 2 * kFew ? t.columns - done : kFew;
    convolve_at_once<kPlanes>(c, piece, pixels_behind(c, piece), scratch);
  }
}

template <int kPlanes>
constexpr Products kProducts = {.columns = 2 * kStrip,
                                .packed_bytes = packed_bytes<kPlanes>,
                                .pack = pack<kPlanes>,
                                .scratch = scratch<kPlanes>,
                                .convolve = convolve<kPlanes>};

}  // namespace

extern "C" {
extern const lux::cpu::Winograd LUX_JOIN(lux_fixed_, LUX_ISA);
extern const Pairs LUX_JOIN(lux_pairs_, LUX_ISA);
const Pairs LUX_JOIN(lux_pairs_, LUX_ISA) = {.split = kProducts<2>,
                                             .single = kProducts<1>,
                                             .fixed = &LUX_JOIN(lux_fixed_, LUX_ISA),
                                             .tiles = kTiles,
                                             .multiply_add = multiply_add};
}
