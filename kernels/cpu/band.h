// Getting pictures in and out of a tile: `load_band` copies a rectangle of several pictures, with the zeros
// around them, into one dense band in the cache, where `band_of` cannot read it in place; `store_tile`
// carries sums through bias and activation to where they belong, where register blocks cannot do so
// `straight`. Between the two a convolution knows neither padding, nor concatenation, nor storage types.
// Included by the files that are compiled once per instruction set.
#pragma once

#include <cstdint>
#include <type_traits>

#include "luxgrad/kernels/cpu/block.h"
#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/kernels/epilogue.h"

// The name of what a file offers, one for each instruction set.
#define LUX_JOIN_(a, b) a##b
#define LUX_JOIN(a, b) LUX_JOIN_(a, b)

namespace {

using lux::Activation;
using lux::cpu::Convolution;
using lux::cpu::Pictures;
using lux::cpu::Tile;

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

template <class T>
T* aligned(void* scratch) {
  return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(scratch) + 63) / 64 * 64);
}
template <class T>
int64_t bytes_of(int64_t elements) {
  return elements * static_cast<int64_t>(sizeof(T));
}
template <class T>
int64_t scratch_bytes(int64_t elements) {
  return bytes_of<T>(elements) + 63;
}

// Rows and columns of a picture, which may lie outside of it, and some of its channels.
struct Region {
  int64_t row, rows, column, columns, channel, channels;
  int64_t pixels() const { return rows * columns; }
};

// The part of the source that the outputs of a tile see.
inline Region seen_by(const Convolution& c, const Tile& t, int64_t channel, int64_t channels) {
  return {t.row * c.stride - c.top,
          (t.rows - 1) * c.stride + c.kH,
          t.column * c.stride - c.left,
          (t.columns - 1) * c.stride + c.kW,
          channel,
          channels};
}

template <class S, class T>
void copy(const S* from, int64_t from_step, T* to, int64_t to_step, int64_t pixels, int64_t channels) {
  if (from_step == channels && to_step == channels) {
    channels *= pixels;
    pixels = 1;
  }
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
#pragma GCC ivdep
    for (int64_t c = 0; c < channels; ++c)
      to[pixel * to_step + c] = static_cast<T>(from[pixel * from_step + c]);
  }
}

inline bool lies_inside(const Pictures& x, const Region& region) {
  return region.row >= 0 && region.row + region.rows <= x.H && region.column >= 0 &&
         region.column + region.columns <= x.W;
}

// Pixels of one row of one part, `step` elements apart, and where the first of them and of their channels
// stands in a region that is dense.
template <class S>
struct Piece {
  const S* from;
  int64_t step, pixels, channels;
  int64_t pixel, channel;  // in the region
};

// f(piece) for all that a region has of the pictures.
template <class S, class F>
void each_piece(const Pictures& x, int64_t n, const Region& region, const F& f) {
  const int64_t h0 = larger(region.row, 0), h1 = smaller(region.row + region.rows, x.H);
  const int64_t w0 = larger(region.column, 0), w1 = smaller(region.column + region.columns, x.W);
  if (w1 <= w0) return;
  int64_t first = 0;  // of the part
  for (const auto* part = x.parts; part < x.parts + x.count; first += part++->channels) {
    const int64_t c0 = larger(region.channel, first);
    const int64_t c1 = smaller(region.channel + region.channels, first + part->channels);
    if (c1 <= c0) continue;
    for (int64_t h = h0; h < h1; ++h) {
      const S* const from =
          static_cast<const S*>(part->data) + ((n * x.H + h) * x.W + w0) * part->channels + c0 - first;
      f(Piece<S>{from, part->channels, w1 - w0, c1 - c0,
                 (h - region.row) * region.columns + w0 - region.column, c0 - region.channel});
    }
  }
}

// band[r, q, c], `step` elements from pixel to pixel, zero outside of the picture and behind the channels.
template <class S, class T>
void load_band(const Pictures& x, int64_t n, const Region& region, T* band, int64_t step) {
  if (!lies_inside(x, region) || step > region.channels) {
    for (int64_t i = 0; i < region.pixels() * step; ++i) band[i] = 0;
  }
  each_piece<S>(x, n, region, [&](const Piece<S>& piece) {
    copy(piece.from, piece.step, band + piece.pixel * step + piece.channel, step, piece.pixels,
         piece.channels);
  });
}

// What a tile reads: elements from row to row and from pixel to pixel.
template <class T>
struct Band {
  const T* data;
  int64_t row, pixel;
};

// The region in place where one picture has it, of the arithmetic's type and with `wide` columns, which are
// more than the region's where blocks read beyond it; with `dense`, pixels have to touch. Otherwise a copy.
template <class S, class T>
Band<T> band_of(const Pictures& x, int64_t n, const Region& region, int64_t wide, int64_t step, bool dense,
                T* scratch) {
  const bool inside =
      region.row >= 0 && region.row + region.rows <= x.H && region.column >= 0 && region.column + wide <= x.W;
  if constexpr (std::is_same_v<S, T>) {
    int64_t first = 0;
    for (const auto* part = x.parts; inside && part < x.parts + x.count; first += part++->channels) {
      const int64_t channel = region.channel - first;
      if (channel < 0 || channel + region.channels > part->channels || step != region.channels ||
          (dense && part->channels != step))
        continue;
      const int64_t pixel = (n * x.H + region.row) * x.W + region.column;
      return {static_cast<const T*>(part->data) + pixel * part->channels + channel, x.W * part->channels,
              part->channels};
    }
  }
  load_band<S>(x, n, region, scratch, step);
  return {scratch, region.columns * step, step};
}

// y = activation(sums + bias) for `pixels` pixels of channels that touch and are too few to fill a vector:
// `kRun` pixels with all of theirs are one run, along which the biases repeat.
constexpr int64_t kRun = 16, kFewChannels = 8;
template <Activation kActivation, class S, class T>
void finish_few(const T* sums, const T* bias, T slope, S* y, int64_t pixels, int64_t channels) {
  T biases[kRun * kFewChannels];
  for (int64_t pixel = 0; pixel < kRun; ++pixel) {
    for (int64_t c = 0; c < channels; ++c) biases[pixel * channels + c] = bias[c];
  }
  for (int64_t pixel = 0; pixel < pixels; pixel += kRun) {
    const T* const from = sums + pixel * channels;
    S* const to = y + pixel * channels;
    const int64_t run = smaller(kRun, pixels - pixel) * channels;
#pragma GCC ivdep
    for (int64_t i = 0; i < run; ++i)
      to[i] = static_cast<S>(lux::activate(kActivation, slope, from[i] + biases[i]));
  }
}

// The same for any channels.
template <Activation kActivation, class S, class T>
void finish(const T* sums, int64_t sums_step, const T* bias, T slope, S* y, int64_t y_step, int64_t pixels,
            int64_t channels) {
  if (bias != nullptr && sums_step == channels && y_step == channels && channels <= kFewChannels)
    return finish_few<kActivation>(sums, bias, slope, y, pixels, channels);
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const T* const from = sums + pixel * sums_step;
    S* const to = y + pixel * y_step;
    if (bias == nullptr) {
#pragma GCC ivdep
      for (int64_t c = 0; c < channels; ++c)
        to[c] = static_cast<S>(lux::activate(kActivation, slope, from[c]));
    } else {
#pragma GCC ivdep
      for (int64_t c = 0; c < channels; ++c)
        to[c] = static_cast<S>(lux::activate(kActivation, slope, from[c] + bias[c]));
    }
  }
}

template <class S, class T>
auto finish_for(uint8_t activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::relu:
      return finish<Activation::relu, S, T>;
    case Activation::leaky_relu:
      return finish<Activation::leaky_relu, S, T>;
    case Activation::sigmoid:
      return finish<Activation::sigmoid, S, T>;
    case Activation::tanh:
      return finish<Activation::tanh, S, T>;
    case Activation::none:
      break;
  }
  return finish<Activation::none, S, T>;
}

// Stores sums[r, q, k] of the target's channels from `channel` on: `row_step` elements from row to row,
// `step` from pixel to pixel.
template <class S, class T>
void store_tile(const Convolution& c, const Tile& tile, int64_t channel, int64_t channels, const T* sums,
                int64_t row_step, int64_t step) {
  const auto run = finish_for<S, T>(c.activation);
  int64_t first = 0;
  for (const auto* part = c.target.parts; part < c.target.parts + c.target.count; first += part++->channels) {
    const int64_t k0 = larger(channel, first), k1 = smaller(channel + channels, first + part->channels);
    if (k1 <= k0 || part->data == nullptr) continue;
    const T* const bias = c.bias == nullptr ? nullptr : static_cast<const T*>(c.bias) + k0;
    for (int64_t r = 0; r < tile.rows; ++r) {
      const int64_t h = c.row + (tile.row + r) * c.step, w = c.column + tile.column * c.step;
      S* const to = static_cast<S*>(part->data) +
                    ((tile.n * c.target.H + h) * c.target.W + w) * part->channels + k0 - first;
      run(sums + r * row_step + k0 - channel, step, bias, static_cast<T>(c.slope), to,
          part->channels * c.step, tile.columns, k1 - k0);
      if (c.skip == nullptr) continue;
      const S* const skip = static_cast<const S*>(c.skip) + (to - static_cast<const S*>(part->data));
      for (int64_t q = 0; q < tile.columns; ++q) {
        const int64_t place = q * part->channels * c.step;
#pragma GCC ivdep
        for (int64_t k = 0; k < k1 - k0; ++k)
          to[place + k] = static_cast<S>(static_cast<T>(to[place + k]) + static_cast<T>(skip[place + k]));
      }
    }
  }
}

// Whether register blocks know it.
inline bool knows(uint8_t activation) {
  const auto kind = static_cast<Activation>(activation);
  return kind == Activation::none || kind == Activation::relu || kind == Activation::leaky_relu;
}

// Sums of a convolution's channels from `bias` on, through bias and activation.
template <class T>
Outputs<T> outputs_to(const Convolution& c, int64_t bias, T* data, int64_t step) {
  return {data,
          step,
          c.bias == nullptr ? nullptr : static_cast<const T*>(c.bias) + bias,
          c.activation == static_cast<uint8_t>(Activation::relu),
          c.activation == static_cast<uint8_t>(Activation::leaky_relu),
          static_cast<T>(c.slope)};
}

// The target's pixels of a tile, where register blocks can write them without a detour.
template <class T>
struct Straight {
  T* data;        // null where they cannot
  const T* skip;  // or null
  int64_t row, pixel;

  // From row r and column q of the tile on, channel k of those that it writes, which has this bias.
  Outputs<T> outputs(const Convolution& c, int64_t bias, int64_t r, int64_t q, int64_t k) const {
    return outputs_to(c, bias, data + place(r, q, k), pixel);
  }
  // Where something is skipped.
  OutputsAndSkip<T> outputs_and_skip(const Convolution& c, int64_t bias, int64_t r, int64_t q,
                                     int64_t k) const {
    return {outputs(c, bias, r, q, k), skip + place(r, q, k)};
  }

 private:
  int64_t place(int64_t r, int64_t q, int64_t k) const { return r * row + q * pixel + k; }
};

// Blocks of `along` pixels must find room: the last one of a row overlaps the one before.
template <class S, class T>
Straight<T> straight(const Convolution& c, const Tile& t, int64_t channel, int64_t channels, int64_t along) {
  if constexpr (std::is_same_v<S, T>) {
    if (!knows(c.activation) || c.step != 1 || channels % kLanes<T> != 0 || t.columns < along) return {};
    int64_t first = 0;
    for (const auto* part = c.target.parts; part < c.target.parts + c.target.count;
         first += part++->channels) {
      if (channel < first || channel + channels > first + part->channels || part->data == nullptr) continue;
      const int64_t pixel = (t.n * c.target.H + c.row + t.row) * c.target.W + c.column + t.column;
      const int64_t place = pixel * part->channels + channel - first;
      return {static_cast<T*>(part->data) + place,
              c.skip == nullptr ? nullptr : static_cast<const T*>(c.skip) + place,
              c.target.W * part->channels, part->channels};
    }
  }
  return {};
}

}  // namespace
