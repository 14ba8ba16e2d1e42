// Convolution, one tile at a time: load a band of the source into the cache, multiply it with packed weights
// in register blocks, and store the sums. There is no im2col: for one row of the kernel, the taps and
// channels that a pixel needs stand next to each other in the band.
//
// This file is compiled once per instruction set, with the namespace `lux` renamed: a function that the
// linker merged with its twin of another instruction set would kill the program on older processors.
#include "luxgrad/kernels/cpu/band.h"
#include "luxgrad/kernels/cpu/block.h"
#include "luxgrad/tensor/dtype.h"

namespace {

using lux::cpu::Isa;
using lux::cpu::Part;
using lux::cpu::Tiles;
using lux::cpu::WeightBlock;
using lux::cpu::Weights;

constexpr int64_t kDepthwiseChannels = 32;

// Whether lanes are channels of the source instead of the target: few outputs, and channels that fill
// vectors.
template <class T>
bool sums_lanes(const Convolution& c) {
  constexpr int64_t kMost = kLanes<T> < 8 ? kLanes<T> / 2 : 4;
  return c.width <= kMost && c.depth % kLanes<T> == 0;
}

// Channels per pass over a band: the weights of a register block shall stay in the first cache level, and the
// band in the second.
template <class T>
int64_t channels_per_pass(const Convolution& c) {
  constexpr int64_t kBytes = 20 << 10, kMost = 128;
  const int64_t taps = larger(1, c.kH * c.kW);
  if (sums_lanes<T>(c))
    return larger(1, smaller(kMost, kBytes / bytes_of<T>(taps * c.width)) / kLanes<T>) * kLanes<T>;
  return larger(8, kBytes / (taps * 2 * kVectorBytes) / 8 * 8);
}

// Elements of a band, with what a register block may read behind its end.
template <class T>
int64_t band_size(const Convolution& c, const Tile& t, int64_t step) {
  return round_up(seen_by(c, t, 0, 0).pixels() * step + kSums * c.stride * step + 3 * kLanes<T>, kLanes<T>);
}

template <class T>
int64_t packed_bytes(const Convolution& c) {
  return bytes_of<T>(c.kH * c.kW * c.depth * round_up(c.width, kLanes<T>));
}

// For each pass over the channels, where lanes are summed: [kH, kW, channels / lanes, outputs, lanes].
template <class S, class T>
void pack_lanes(const Convolution& c, const Weights& w, T* packed) {
  constexpr int64_t L = kLanes<T>;
  const int64_t width = round_up(c.width, L), taps = c.kH * c.kW, pass = channels_per_pass<T>(c);
  const S* const from = static_cast<const S*>(w.data);
  for (int64_t c0 = 0; c0 < c.depth; c0 += pass) {
    T* to = packed + taps * c0 * width;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t m = c0; m < smaller(c.depth, c0 + pass); m += L) {
        for (int64_t k = 0; k < c.width; ++k) {
          for (int64_t lane = m; lane < m + L; ++lane)
            *to++ = static_cast<T>(from[k * w.k + tap / c.kW * w.i + tap % c.kW * w.j + lane * w.c]);
        }
      }
    }
  }
}

// For each pass over the channels, for each register block: [kH, kW, channels, lanes].
template <class S, class T>
void pack(const Convolution& c, const Weights& w, int64_t slice, int64_t slices, void* packed) {
  const int64_t width = round_up(c.width, kLanes<T>), taps = c.kH * c.kW, pass = channels_per_pass<T>(c);
  if (sums_lanes<T>(c)) {
    if (slice == 0) pack_lanes<S>(c, w, static_cast<T*>(packed));
    return;
  }
  const S* const from = static_cast<const S*>(w.data);
  for (int64_t c0 = 0; c0 < c.depth; c0 += pass) {
    const int64_t channels = smaller(pass, c.depth - c0);
    int64_t lanes = 0;
    for (int64_t k0 = 0, block = 0; k0 < width; k0 += lanes, ++block) {
      lanes = next_vectors((width - k0) / kLanes<T>) * kLanes<T>;
      if (block % slices != slice) continue;
      T* to = static_cast<T*>(packed) + taps * (c0 * width + channels * k0);
      for (int64_t i = 0; i < c.kH; ++i) {
        for (int64_t j = 0; j < c.kW; ++j) {
          for (int64_t m = c0; m < c0 + channels; ++m) {
            for (int64_t k = k0; k < k0 + lanes; ++k)
              *to++ = k < c.width ? static_cast<T>(from[k * w.k + i * w.i + j * w.j + m * w.c]) : T(0);
          }
        }
      }
    }
  }
}

// Elements from the sums of a pixel to those of the next.
template <class T>
int64_t sums_step(const Convolution& c) {
  return sums_lanes<T>(c) ? c.width * kLanes<T> : round_up(c.width, kLanes<T>);
}

template <class T>
int64_t convolve_scratch(const Convolution& c, const Tile& t) {
  return scratch_bytes<T>(band_size<T>(c, t, smaller(channels_per_pass<T>(c), c.depth)) +
                          t.rows * round_up(t.columns, kSums) * sums_step<T>(c));
}

// What the `channels` of a band add to the sums of a tile of `columns` columns, where lanes are summed.
template <class T>
void multiply_tile_by_lanes(const Convolution& c, const Tile& t, const Band<T>& band, int64_t channels,
                            const T* weights, T* sums, int64_t columns, bool add) {
  const int64_t run = c.kW * channels / kLanes<T>, step = sums_step<T>(c);
  for (int64_t r = 0; r < t.rows; ++r) {
    for (int64_t q = 0; q < t.columns; q += kSums / c.width) {
      multiply_dots<T>(c.width, {band.data + (r * band.row + q * band.pixel) * c.stride, band.row, kLanes<T>},
                       c.stride * band.pixel, {weights, run * step, step}, kLanes<T>, c.kH, run,
                       sums + (r * columns + q) * step, step, add);
    }
  }
}

template <class S, class T>
void convolve(const Convolution& c, const Tile& t, void* scratch) {
  const int64_t width = round_up(c.width, kLanes<T>), taps = c.kH * c.kW, pass = channels_per_pass<T>(c);
  const Straight<T> to = straight<S, T>(c, t, t.group * c.width, c.width, kSums);
  const bool in_place = to.data != nullptr && c.depth <= pass && !sums_lanes<T>(c);
  const int64_t columns = in_place ? t.columns : round_up(t.columns, kSums);
  int64_t step = sums_step<T>(c);
  T* const copied = aligned<T>(scratch);
  T* const sums = copied + band_size<T>(c, t, smaller(pass, c.depth));
  const int64_t wide = (columns - 1) * c.stride + c.kW;
  const T* weights = static_cast<const T*>(c.weights) + t.group * taps * c.depth * width;
  for (int64_t c0 = 0; c0 < c.depth; c0 += pass) {
    const Region region = seen_by(c, t, t.group * c.depth + c0, smaller(pass, c.depth - c0));
    const int64_t channels = region.channels;
    const Band<T> band = band_of<S>(c.source, t.n, region, wide, channels, c.kW > 1, copied);
    const bool far = taps == 1 && band.data != copied;  // pixels come as they stand in the map
    if (sums_lanes<T>(c)) multiply_tile_by_lanes(c, t, band, channels, weights, sums, columns, c0 > 0);
    int vectors = 0;
    for (int64_t k = 0; k < width && !sums_lanes<T>(c); k += vectors * kLanes<T>) {
      vectors = next_vectors((width - k) / kLanes<T>);
      const Operand<T> w{weights + taps * channels * k, c.kW * channels * vectors * kLanes<T>,
                         vectors * kLanes<T>};
      const int64_t along = kSums / vectors;
      for (int64_t r = 0; r < t.rows; ++r) {
        for (int64_t next = 0; next < t.columns; next += along) {
          const int64_t q = in_place ? smaller(next, t.columns - along) : next;
          const Operand<T> x{band.data + (r * band.row + q * band.pixel) * c.stride, band.row, 1};
          const auto run = [&](const auto& y) {
            const int64_t x_step = c.stride * band.pixel, along_row = c.kW * channels;
            if (far)
              multiply<T, true>(vectors, x, x_step, w, 1, along_row, y);
            else
              multiply<T>(vectors, x, x_step, w, c.kH, along_row, y);
          };
          const auto run_far = [&](const auto& y) {
            if (kAsks && far) y.ask_for(along, vectors);
            run(y);
          };
          if (!in_place)
            into_sums(sums + (r * columns + q) * step + k, step, c0 > 0, run);
          else if (to.skip == nullptr)
            run_far(to.outputs(c, t.group * c.width + k, r, q, k));
          else
            run_far(to.outputs_and_skip(c, t.group * c.width + k, r, q, k));
        }
      }
    }
    weights += taps * channels * width;
  }
  if (in_place) return;
  if (sums_lanes<T>(c)) {
    sum_lanes(sums, t.rows * columns * c.width, sums);
    step = c.width;
  }
  store_tile<S>(c, t, t.group * c.width, c.width, sums, columns * step, step);
}

template <class T>
int64_t packed_depthwise_bytes(const Convolution& c) {
  return bytes_of<T>(c.kH * c.kW * round_up(c.width, kDepthwiseChannels));
}

// Whether lanes are pixels with all of their channels instead of channels alone, which would fill no vector.
template <class T>
bool few_channels(const Convolution& c) {
  return c.width < kLanes<T> && c.stride == 1;
}

// [kH, kW, channels], the channels filled up with zeros; few of them are repeated, so that lanes from any
// channel on find theirs.
template <class S, class T>
void pack_depthwise(const Convolution& c, const Weights& w, void* packed) {
  T* to = static_cast<T*>(packed);
  const int64_t width = round_up(c.width, kDepthwiseChannels);
  for (int64_t i = 0; i < c.kH; ++i) {
    for (int64_t j = 0; j < c.kW; ++j) {
      for (int64_t k = 0; k < width; ++k) {
        const int64_t channel = few_channels<T>(c) ? k % c.width : k;
        *to++ = channel < c.width
                    ? static_cast<T>(static_cast<const S*>(w.data)[channel * w.k + i * w.i + j * w.j])
                    : T(0);
      }
    }
  }
}

template <class T>
int64_t depthwise_scratch(const Convolution& c, const Tile& t) {
  return scratch_bytes<T>(band_size<T>(c, t, kDepthwiseChannels) +
                          t.rows * round_up(t.columns, kAlong) * kDepthwiseChannels);
}

// One row of `pixels` outputs. Not inlined: the loops need all registers for themselves.
template <class T, class Sink>
[[gnu::noinline]] void depthwise_row(const Convolution& c, Operand<T> x, Operand<T> w, int64_t pixels,
                                     int64_t channels, Sink y) {
  for (int64_t next = 0; next < pixels; next += kAlong) {
    const int64_t q = smaller(next, pixels - kAlong);
    for (int64_t v = 0; v < channels; v += kLanes<T>) {
      multiply_lanes<T>({x.data + q * c.stride * x.j + v, x.i, x.j}, c.stride * x.j, {w.data + v, w.i, w.j},
                        c.kH, c.kW, y.at(q, v));
    }
  }
}

// The same for a stride of 1 and a kernel of 3x3, whose weights stay in registers.
template <class T, class Sink>
[[gnu::noinline]] void slide_row(Operand<T> x, Operand<T> w, int64_t pixels, int64_t channels, Sink y) {
  for (int64_t v = 0; v < channels; v += kLanes<T>) {
    Vector<T> weights[3][3];
    LUX_UNROLL
    for (int tap = 0; tap < 9; ++tap)
      weights[tap / 3][tap % 3] = load(w.data + tap / 3 * w.i + tap % 3 * w.j + v);
    for (int64_t next = 0; next < pixels; next += kAlong) {
      const int64_t q = smaller(next, pixels - kAlong);
      slide_lanes<T>({x.data + q * x.j + v, x.i, x.j}, weights, y.at(q, v));
    }
  }
}

// Pixels of few channels, one row of the tile after the other: the tap beside one is `channels` lanes on.
template <class S, class T>
void depthwise_few(const Convolution& c, const Tile& t, void* scratch) {
  static_assert(2 * kLanes<T> <= kDepthwiseChannels);
  const int64_t channels = c.width, lanes = t.columns * channels, row_step = round_up(lanes, kLanes<T>);
  const Region region = seen_by(c, t, 0, channels);
  T* const copied = aligned<T>(scratch);
  T* const sums = copied + band_size<T>(c, t, channels);
  const Band<T> band = band_of<S>(c.source, t.n, region, region.columns + kLanes<T>, channels, true, copied);
  for (int64_t r = 0; r < t.rows; ++r) {
    for (int64_t lane = 0; lane < lanes; lane += kLanes<T>) {
      const T* const weights = static_cast<const T*>(c.weights) + lane % channels;
      Vector<T> sum{};
      for (int64_t i = 0; i < c.kH; ++i) {
        const T* const xs = band.data + (r + i) * band.row + lane;
        for (int64_t j = 0; j < c.kW; ++j)
          sum += load(xs + j * channels) * load(weights + (i * c.kW + j) * kDepthwiseChannels);
      }
      store<T>(sums + r * row_step + lane, sum);
    }
  }
  store_tile<S>(c, t, 0, channels, sums, row_step, channels);
}

template <class S, class T>
void depthwise(const Convolution& c, const Tile& t, void* scratch) {
  if (few_channels<T>(c)) return depthwise_few<S, T>(c, t, scratch);
  const int64_t channels = smaller(kDepthwiseChannels, c.width - t.group),
                step = round_up(channels, kLanes<T>);
  const int64_t width = round_up(c.width, kDepthwiseChannels), columns = round_up(t.columns, kAlong);
  const Straight<T> to = straight<S, T>(c, t, t.group, channels, kAlong);
  const bool in_place = to.data != nullptr;
  const Region region = seen_by(c, t, t.group, channels);
  T* const copied = aligned<T>(scratch);
  T* const sums = copied + band_size<T>(c, t, step);
  const int64_t wide = in_place ? region.columns : (columns - 1) * c.stride + c.kW;
  const Band<T> band = band_of<S>(c.source, t.n, region, wide, step, false, copied);
  const T* const weights = static_cast<const T*>(c.weights) + t.group;
  const bool slides = c.kH == 3 && c.kW == 3 && c.stride == 1;
  for (int64_t r = 0; r < t.rows; ++r) {
    const Operand<T> x{band.data + r * c.stride * band.row, band.row, band.pixel};
    const Operand<T> w{weights, c.kW * width, width};
    const auto run = [&](int64_t pixels, const auto& y) {
      slides ? slide_row<T>(x, w, pixels, step, y) : depthwise_row<T>(c, x, w, pixels, step, y);
    };
    if (in_place && to.skip == nullptr)
      run(t.columns, to.outputs(c, t.group, r, 0, 0));
    else if (in_place)
      run(t.columns, to.outputs_and_skip(c, t.group, r, 0, 0));
    else
      run(columns, Sums<T, false>{sums + r * columns * step, step});
  }
  if (in_place) return;
  store_tile<S>(c, t, t.group, channels, sums, columns * step, step);
}

// A depthwise convolution, the filter, and the pointwise one behind it: as many columns as fill blocks, also
// where a block at each side of the picture stands alone, and slices of channels.
constexpr int64_t kSeparableColumns = 24, kMostSlices = 8;
static_assert(kSeparableColumns >= kSums && kSeparableColumns >= int64_t{3} * kAlong);

int64_t slices_of(const Convolution& filter) {
  return round_up(filter.width, kDepthwiseChannels) / kDepthwiseChannels;
}

// What is between the two must not be rounded less than where they run one after the other.
template <class S, class T>
bool separable_takes(const Convolution& filter, const Convolution& mix) {
  const bool slides = filter.kH == 3 && filter.kW == 3 && filter.stride == 1 && knows(filter.activation) &&
                      filter.width % kLanes<T> == 0 && slices_of(filter) <= kMostSlices;
  return std::is_same_v<S, T> && (slides || few_channels<T>(filter)) &&
         mix.depth <= channels_per_pass<T>(mix);
}

// Some columns of a tile, from `first` on, and where a filter reads each slice of their channels.
template <class T>
struct Stretch {
  int64_t first, columns;
  Band<T> bands[kMostSlices];
};

template <class T>
int64_t stretch_size(const Convolution& filter, const Tile& t, int64_t columns) {
  return slices_of(filter) * band_size<T>(filter, {t.n, 0, t.row, t.rows, 0, columns}, kDepthwiseChannels);
}

// The tile in up to three of them: at a side of the picture a block is copied, with the zeros beside it, and
// the rest is read in place. Returns how many.
template <class S, class T>
int stretches_of(const Convolution& filter, const Tile& t, T* copied, Stretch<T>* stretches) {
  const Region seen = seen_by(filter, t, 0, 0);
  const int64_t left = seen.column < 0 ? kAlong : 0;
  const int64_t right = seen.column + seen.columns > filter.source.W ? kAlong : 0;
  int count = 0;
  int64_t first = 0;
  for (const int64_t columns : {left, t.columns - left - right, right}) {
    if (columns == 0) continue;
    Stretch<T>& stretch = stretches[count++];
    stretch.first = first;
    stretch.columns = columns;
    const Tile part{t.n, 0, t.row, t.rows, t.column + first, columns};
    for (int64_t slice = 0; slice < slices_of(filter); ++slice) {
      const int64_t c = slice * kDepthwiseChannels, channels = smaller(kDepthwiseChannels, filter.width - c);
      const Region region = seen_by(filter, part, c, channels);
      stretch.bands[slice] = band_of<S>(filter.source, t.n, region, region.columns, channels, false, copied);
      copied += stretch_size<T>(filter, t, columns) / slices_of(filter);
    }
    first += columns;
  }
  return count;
}

// Row r of the filtered pixels of a stretch, into [columns of the tile, channels].
template <class T>
void filter_row(const Convolution& filter, const Stretch<T>& stretch, int64_t r, T* between) {
  const int64_t width = round_up(filter.width, kDepthwiseChannels);
  const bool only_bias =
      filter.bias != nullptr && filter.activation == static_cast<uint8_t>(Activation::none);
  for (int64_t c = 0; c < filter.width; c += kDepthwiseChannels) {
    const Band<T>& band = stretch.bands[c / kDepthwiseChannels];
    const Operand<T> x{band.data + r * band.row, band.row, band.pixel};
    const Operand<T> w{static_cast<const T*>(filter.weights) + c, filter.kW * width, width};
    const int64_t channels = smaller(kDepthwiseChannels, filter.width - c);
    const Outputs<T> y = outputs_to(filter, c, between + stretch.first * filter.width + c, filter.width);
    if (only_bias)
      slide_row<T>(x, w, stretch.columns, channels, Biased<T>{y.data, y.step, y.bias});
    else
      slide_row<T>(x, w, stretch.columns, channels, y);
  }
}

// Asks for `pixels` pixels, `behind` columns behind the last one of a stretch, in row r.
template <class T>
void ask_for(const Convolution& filter, const Stretch<T>& stretch, int64_t r, int64_t behind,
             int64_t pixels) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t c = 0; c < filter.width; c += kLine) {
    const Band<T>& band = stretch.bands[c / kDepthwiseChannels];
    const T* const from = band.data + r * band.row + (stretch.columns + filter.kW - 1 + behind) * band.pixel;
    for (int64_t p = 0; p < pixels; ++p) __builtin_prefetch(from + p * band.pixel + c % kDepthwiseChannels);
  }
}

template <class T>
int64_t separable_scratch(const Convolution& filter, const Convolution& mix, const Tile& t) {
  const Tile line{0, 0, 0, 1, 0, t.columns};
  return scratch_bytes<T>(t.columns * filter.width + stretch_size<T>(filter, t, t.columns) +
                          2 * stretch_size<T>(filter, t, kAlong)) +
         larger(depthwise_scratch<T>(filter, line), convolve_scratch<T>(mix, line));
}

// Row by row: the filtered pixels of one stay in the first cache level until they are multiplied. Meanwhile
// there is time to ask for what comes from far away: the row of the target below, and in the last rows for
// what the tile to the right, which comes next, reads first.
template <class S, class T>
void separable(const Convolution& filter, const Convolution& mix, const Tile& t, void* scratch) {
  T* const between = aligned<T>(scratch);
  T* const copied = between + t.columns * filter.width;
  T* const room = copied + stretch_size<T>(filter, t, t.columns) + 2 * stretch_size<T>(filter, t, kAlong);
  Stretch<T> stretches[3];
  const int count = few_channels<T>(filter) ? 0 : stretches_of<S>(filter, t, copied, stretches);
  const Straight<T> to = straight<S, T>(mix, t, 0, mix.width, kSums);
  const Part part{between, filter.width};
  Convolution above = filter, below = mix;  // a row of them, one by one
  above.target = below.source = {&part, 1, 1, t.columns};
  above.column = -t.column;
  below.column = t.column;
  for (int64_t r = 0; r < t.rows; ++r) {
    above.row = -(t.row + r);
    below.row = t.row + r;
    for (int i = 0; i < count; ++i) filter_row(filter, stretches[i], r, between);
    if (count == 0) depthwise_few<S, T>(above, {t.n, 0, t.row + r, 1, t.column, t.columns}, room);
    if (to.data == nullptr) {
      convolve<S, T>(below, {0, 0, 0, 1, 0, t.columns}, room);
      continue;
    }
    const bool lowest = r + 1 == t.rows;
    const int64_t next_tile = r + filter.kH - t.rows;  // row of it
    int vectors = 0;
    for (int64_t k = 0; k < mix.width; k += vectors * kLanes<T>) {
      vectors = next_vectors((mix.width - k) / kLanes<T>);
      const Operand<T> w{static_cast<const T*>(mix.weights) + mix.depth * k, 0, vectors * kLanes<T>};
      const int64_t along = kSums / vectors;
      for (int64_t next = 0; next < t.columns; next += along) {
        const int64_t q = smaller(next, t.columns - along);
        const T* const later =
            to.data + (lowest ? t.columns * to.pixel : (r + 1) * to.row) + q * to.pixel + k;
        for (int64_t p = 0; p < along; ++p) __builtin_prefetch(later + p * to.pixel, 1);
        if (k == 0 && count > 0 && next_tile >= 0) ask_for(filter, stretches[count - 1], next_tile, q, along);
        multiply<T>(vectors, {between + q * filter.width, 0, 1}, filter.width, w, 1, mix.depth,
                    to.outputs(mix, k, r, q, k));
      }
    }
  }
}

int64_t weight_rows(const WeightBlock& b) { return round_up(b.width, kSums); }

template <class T>
int64_t weight_run(const Convolution& c, const WeightBlock& b) {
  return round_up(c.kW * b.depth, kLanes<T>);
}
template <class T>
int64_t weight_scratch(const Convolution& c, const WeightBlock& b, const Tile& t) {
  return scratch_bytes<T>(band_size<T>(c, t, b.depth) + t.rows * t.columns * b.width + kSums);
}

template <class S, class T>
void weight_gradient(const Convolution& c, const WeightBlock& b, const Tile& t, void* sums, void* scratch) {
  const int64_t rows = weight_rows(b), run = weight_run<T>(c, b);
  const Region region = seen_by(c, t, b.group * c.depth + b.c, b.depth);
  const int64_t band_row = region.columns * b.depth;
  T* const band = aligned<T>(scratch);
  T* const gz = band + band_size<T>(c, t, b.depth);
  load_band<S>(c.source, t.n, region, band, b.depth);
  load_band<S>(c.target, t.n, {t.row, t.rows, t.column, t.columns, b.group * c.width + b.k, b.width}, gz,
               b.width);
  // A few rows at a time, so that they stay in the first cache level while all sums pass by.
  const int64_t few = larger(1, 64 / t.columns);
  for (int64_t r = 0; r < t.rows; r += few) {
    for (int64_t i = 0; i < c.kH; ++i) {
      const T* const xs = band + (r * c.stride + i) * band_row;
      int vectors = 0;
      for (int64_t lane = 0; lane < run; lane += vectors * kLanes<T>) {
        const int64_t left = (run - lane) / kLanes<T>;
        vectors = left >= 3 && left != 4 ? 3 : next_vectors(left);
        for (int64_t k = 0; k < b.width; k += kSums / vectors) {
          multiply<T>(vectors, {gz + r * t.columns * b.width + k, t.columns * b.width, b.width}, 1,
                      {xs + lane, c.stride * band_row, c.stride * b.depth}, smaller(few, t.rows - r),
                      t.columns, Sums<T, true>{static_cast<T*>(sums) + (i * rows + k) * run + lane, run});
        }
      }
    }
  }
}

template <class S, class T>
void depthwise_weight_gradient(const Convolution& c, const Tile& t, void* sums, void* scratch) {
  const int64_t channels = smaller(kDepthwiseChannels, c.width - t.group),
                step = round_up(channels, kLanes<T>);
  const Region region = seen_by(c, t, t.group, channels);
  T* const band = aligned<T>(scratch);
  T* const gz = band + band_size<T>(c, t, step);
  load_band<S>(c.source, t.n, region, band, step);
  load_band<S>(c.target, t.n, {t.row, t.rows, t.column, t.columns, t.group, channels}, gz, step);
  for (int64_t i = 0; i < c.kH; ++i) {
    for (int64_t j = 0; j < c.kW; ++j) {
      for (int64_t v = 0; v < step; v += kLanes<T>) {
        sum_products<T>(
            {band + (i * region.columns + j) * step + v, c.stride * region.columns * step, c.stride * step},
            {gz + v, t.columns * step, step}, t.rows, t.columns,
            static_cast<T*>(sums) + (i * c.kW + j) * kDepthwiseChannels + v);
      }
    }
  }
}

// Stored as S, computed in T.
template <class S, class T>
constexpr Tiles kTiles = {
    .products = {.columns = kSums,
                 .packed_bytes = packed_bytes<T>,
                 .pack = pack<S, T>,
                 .scratch = convolve_scratch<T>,
                 .convolve = convolve<S, T>},
    .packed_depthwise_bytes = packed_depthwise_bytes<T>,
    .pack_depthwise = pack_depthwise<S, T>,
    .depthwise_scratch = depthwise_scratch<T>,
    .depthwise = depthwise<S, T>,
    .separable_columns = kSeparableColumns,
    .separable_takes = separable_takes<S, T>,
    .separable_scratch = separable_scratch<T>,
    .separable = separable<S, T>,
    .weight_rows = weight_rows,
    .weight_run = weight_run<T>,
    .weight_scratch = weight_scratch<T>,
    .weight_gradient = weight_gradient<S, T>,
    .depthwise_weight_gradient = depthwise_weight_gradient<S, T>,
};

}  // namespace

#define LUX_TEXT_(a) #a
#define LUX_TEXT(a) LUX_TEXT_(a)

extern "C" {
extern const lux::cpu::Winograd LUX_JOIN(lux_winograd_, LUX_ISA);
extern const lux::cpu::Roofs LUX_JOIN(lux_roofs_, LUX_ISA);
extern const Isa LUX_JOIN(lux_isa_, LUX_ISA);
const Isa LUX_JOIN(lux_isa_, LUX_ISA) = {
    .name = LUX_TEXT(LUX_ISA),
    .depthwise_channels = kDepthwiseChannels,
    .f32 = kTiles<float, float>,
    .f64 = kTiles<double, double>,
    .bf16 = kTiles<lux::bf16, float>,
    .f16 = kTiles<lux::f16, float>,
    .winograd = &LUX_JOIN(lux_winograd_, LUX_ISA),
    .roofs = &LUX_JOIN(lux_roofs_, LUX_ISA),
    .pairs = nullptr,
};
}
