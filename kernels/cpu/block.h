// The innermost loops, in vector extensions: a product of two matrices whose result stays in registers. The
// strides are free, so that one text serves the forward pass (pixels x outputs), the data gradient and the
// weight gradient (outputs x taps). Included by the files that are compiled once per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define LUX_UNROLL _Pragma("GCC unroll 32")
#else
#define LUX_UNROLL _Pragma("unroll")
#endif

namespace {

// Registers for sums: a multiple of what 1, 2 and 3 vectors divide, leaving room for the operands.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kSums = 24;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kSums = 12;
#else
constexpr int kVectorBytes = 16, kSums = 12;
#endif

template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

// Unaligned, and allowed to look at any array of T.
template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  // NOLINTNEXTLINE(modernize-use-using): vector types are written so
  typedef float type __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};
template <>
struct VectorOf<double> {
  // NOLINTNEXTLINE(modernize-use-using): vector types are written so
  typedef double type __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
inline Vector<T> load(const T* from) {
  return *reinterpret_cast<const Vector<T>*>(from);
}
template <class T>
inline void store(T* to, Vector<T> value) {
  *reinterpret_cast<Vector<T>*>(to) = value;
}

// Stores that do not read what they overwrite into the caches first: for whole lines of what is larger than
// these. Other threads see them after `end_stores_past_caches`. Elsewhere they are stores like any other.
inline void store_past_caches(float* to, Vector<float> value) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, value);
#else
  store(to, value);
#endif
}
inline void end_stores_past_caches() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

// GCC loads what several products read anew for each of them, and loads are as dear as products.
template <class T>
inline void keep_loaded([[maybe_unused]] Vector<T>& value) {
#if defined(__x86_64__)
  asm("" : "+v"(value));
#endif
}

// A matrix in memory: element (i, j) of the sum, then (row or lane) of the result.
template <class T>
struct Operand {
  const T* data;
  int64_t i, j;
};

// How many vectors the next block takes of `left`: two, but never leaving a lone one behind a pair.
inline int next_vectors(int64_t left) { return left == 3 ? 3 : (left >= 2 ? 2 : 1); }

// Where a register block leaves its sums, row r and vector v of them: in memory, `step` apart, or added to
// what stands there. `at` is the place of a block further on.
template <class T, bool kAdd>
struct Sums {
  T* data;
  int64_t step;

  Sums at(int64_t row, int64_t lane) const { return {data + row * step + lane, step}; }

  void operator()(int r, int v, Vector<T> sum) const {
    T* const to = data + r * step + v * kLanes<T>;
    store<T>(to, kAdd ? load(to) + sum : sum);
  }
};

// Lets `run` leave them there.
template <class T, class Run>
void into_sums(T* data, int64_t step, bool add, const Run& run) {
  if (add)
    run(Sums<T, true>{data, step});
  else
    run(Sums<T, false>{data, step});
}

// Whether a block asks beforehand for where its sums go, and for what they are added to: these may be in the
// third cache level, or in memory. Measured on a Zen 5.
constexpr bool kAsks = kVectorBytes >= 64;

// Asks for rows of a map, `step` apart.
template <class T>
inline void ask_for_rows(const T* from, int64_t step, int64_t rows, int64_t vectors) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t v = 0; v < vectors; ++v) __builtin_prefetch(from + r * step + v * kLanes<T>, 1);
  }
}

// Or in the target itself, through bias and activation.
template <class T>
struct Outputs {
  T* data;
  int64_t step;
  const T* bias;     // or null
  bool relu, leaky;  // or none
  T slope;           // of leaky

  Outputs at(int64_t row, int64_t lane) const {
    return {data + row * step + lane, step, bias == nullptr ? nullptr : bias + lane, relu, leaky, slope};
  }

  void ask_for(int64_t rows, int64_t vectors) const { ask_for_rows(data, step, rows, vectors); }

  Vector<T> value(int v, Vector<T> sum) const {
    if (bias != nullptr) sum += load(bias + v * kLanes<T>);
    if (relu) sum = sum < Vector<T>{} ? Vector<T>{} : sum;
    if (leaky) sum = sum < Vector<T>{} ? sum * slope : sum;
    return sum;
  }
  void operator()(int r, int v, Vector<T> sum) const {
    store<T>(data + r * step + v * kLanes<T>, value(v, sum));
  }
};

// The same with what is skipped added on the way. To read it when the block has been written would be to read
// where in another page was just written, for which processors wait.
template <class T>
struct OutputsAndSkip {
  Outputs<T> y;
  const T* skip;  // stands as y.data does

  OutputsAndSkip at(int64_t row, int64_t lane) const { return {y.at(row, lane), skip + row * y.step + lane}; }

  // In turn: asked for one after the other they came no sooner.
  void ask_for(int64_t rows, int64_t vectors) const {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < vectors; ++v) {
        __builtin_prefetch(y.data + r * y.step + v * kLanes<T>, 1);
        __builtin_prefetch(skip + r * y.step + v * kLanes<T>);
      }
    }
  }

  void operator()(int r, int v, Vector<T> sum) const {
    const int64_t place = r * y.step + v * kLanes<T>;
    store<T>(y.data + place, y.value(v, sum) + load(skip + place));
  }
};

// The same without an activation, which a block of few products would ask about too often.
template <class T>
struct Biased {
  T* data;
  int64_t step;
  const T* bias;

  Biased at(int64_t row, int64_t lane) const { return {data + row * step + lane, step, bias + lane}; }

  void operator()(int r, int v, Vector<T> sum) const {
    store<T>(data + r * step + v * kLanes<T>, sum + load(bias + v * kLanes<T>));
  }
};

// y[r, lane] = sum over i < rows, j < run of x(i, j)[r·x_step] · w(i, j)[lane], for kSums / V rows and V
// vectors. kAhead: the rows behind these are asked for meanwhile, where they come from far away.
template <int V, bool kAhead, class T, class Sink>
void multiply(Operand<T> x, int64_t x_step, Operand<T> w, int64_t rows, int64_t run, Sink y) {
  constexpr int kRows = kSums / V, L = kLanes<T>;
  Vector<T> sums[kRows][V] = {};
  const T* ahead = x.data + kRows * x_step;
  const int64_t ahead_step = kAhead ? kRows * x_step / run : 0;
  for (int64_t i = 0; i < rows; ++i) {
    const T *xs = x.data + i * x.i, *ws = w.data + i * w.i;
    for (int64_t j = 0; j < run; ++j) {
      if constexpr (kAhead) {
        __builtin_prefetch(ahead);
        ahead += ahead_step;
      }
      Vector<T> weights[V];
      LUX_UNROLL
      for (int v = 0; v < V; ++v) weights[v] = load(ws + v * L);
      LUX_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Vector<T> same = xs[r * x_step] - Vector<T>{};
        LUX_UNROLL
        for (int v = 0; v < V; ++v) sums[r][v] += same * weights[v];
      }
      xs += x.j;
      ws += w.j;
    }
  }
  LUX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LUX_UNROLL
    for (int v = 0; v < V; ++v) y(r, v, sums[r][v]);
  }
}

template <class T, bool kAhead = false, class Sink>
void multiply(int vectors, Operand<T> x, int64_t x_step, Operand<T> w, int64_t rows, int64_t run, Sink y) {
  if (vectors == 1) return multiply<1, kAhead>(x, x_step, w, rows, run, y);
  if (vectors == 2) return multiply<2, kAhead>(x, x_step, w, rows, run, y);
  return multiply<3, kAhead>(x, x_step, w, rows, run, y);
}

// y[r, lane] = sum over i < kH, j < kW of x(i, j)[r·x_step + lane] · w(i, j)[lane], for kAlong pixels and one
// vector.
constexpr int kAlong = 8;
template <class T, class Sink>
void multiply_lanes(Operand<T> x, int64_t x_step, Operand<T> w, int64_t kH, int64_t kW, Sink y) {
  Vector<T> sums[kAlong] = {};
  for (int64_t i = 0; i < kH; ++i) {
    for (int64_t j = 0; j < kW; ++j) {
      const T* const xs = x.data + i * x.i + j * x.j;
      const Vector<T> weights = load(w.data + i * w.i + j * w.j);
      LUX_UNROLL
      for (int r = 0; r < kAlong; ++r) sums[r] += load(xs + r * x_step) * weights;
    }
  }
  LUX_UNROLL
  for (int r = 0; r < kAlong; ++r) y(r, 0, sums[r]);
}

// The next pixel. Left alone, the compiler keeps every multiple of the step in a register of its own, and has
// too few.
template <class T>
inline void advance(const T*& x, int64_t step) {
  x += step;
  asm("" : "+r"(x));
}

// The same for a stride of 1 and a kernel of 3x3: a pixel is loaded once for the three outputs that it
// belongs to. The row below, which the next row of outputs adds, is asked for meanwhile: there is too little
// to do for a pixel to hide how long it takes to come. Inlined by force: the weights shall stay in registers.
template <class T, class Sink>
[[gnu::always_inline]] inline void slide_lanes(Operand<T> x, const Vector<T> (&weights)[3][3], Sink y) {
  constexpr int kSide = 3;
  Vector<T> sums[kAlong] = {};
  const T* below = x.data + kSide * x.i + (kSide - 1) * x.j;
  LUX_UNROLL
  for (int i = 0; i < kSide; ++i) {
    const T* xs = x.data + i * x.i;
    LUX_UNROLL
    for (int p = 0; p < kAlong + kSide - 1; ++p) {
      Vector<T> pixel = load(xs);
      keep_loaded<T>(pixel);
      LUX_UNROLL
      for (int j = 0; j < kSide; ++j) {
        if (p >= j && p - j < kAlong) sums[p - j] += pixel * weights[i][j];
      }
      advance(xs, x.j);
    }
  }
  LUX_UNROLL
  for (int r = 0; r < kAlong; ++r) {
    __builtin_prefetch(below);
    advance(below, x.j);
    y(r, 0, sums[r]);
  }
}

// y[k·lanes + lane] (+)= sum over i < rows, j < run of x(i, j)[r·x_step + lane] · w(i, j)[k·w_step + lane],
// for kSums / K pixels r, y_step apart, and K outputs k: where outputs would not fill a vector, channels of
// the source do, and `sum_lanes` adds them up.
template <int K, class T>
void multiply_dots(Operand<T> x, int64_t x_step, Operand<T> w, int64_t w_step, int64_t rows, int64_t run,
                   T* y, int64_t y_step, bool add) {
  constexpr int kRows = kSums / K, L = kLanes<T>;
  Vector<T> sums[kRows][K] = {};
  for (int64_t i = 0; i < rows; ++i) {
    const T *xs = x.data + i * x.i, *ws = w.data + i * w.i;
    for (int64_t j = 0; j < run; ++j) {
      Vector<T> weights[K];
      LUX_UNROLL
      for (int k = 0; k < K; ++k) weights[k] = load(ws + k * w_step);
      LUX_UNROLL
      for (int r = 0; r < kRows; ++r) {
        Vector<T> pixel = load(xs + r * x_step);
        keep_loaded<T>(pixel);
        LUX_UNROLL
        for (int k = 0; k < K; ++k) sums[r][k] += pixel * weights[k];
      }
      xs += x.j;
      ws += w.j;
    }
  }
  LUX_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LUX_UNROLL
    for (int k = 0; k < K; ++k) {
      T* const to = y + r * y_step + k * L;
      store<T>(to, add ? load(to) + sums[r][k] : sums[r][k]);
    }
  }
}

// Halves of segments of 2 kHalf lanes added up, those of a first.
template <int kHalf, class V, size_t... kLane>
inline V fold(V a, V b, std::index_sequence<kLane...>) {
  constexpr int H = kHalf;
  return __builtin_shufflevector(a, b, (kLane / H * 2 * H + kLane % H)...) +
         __builtin_shufflevector(a, b, (kLane / H * 2 * H + kLane % H + H)...);
}

// Of kCount vectors: lane k·L / kCount and those behind it add up to the sum of vector k.
template <int kCount, class T>
inline Vector<T> folded(const T* from) {
  constexpr int L = kLanes<T>;
  if constexpr (kCount == 1) {
    return load(from);
  } else {
    return fold<L / kCount>(folded<kCount / 2>(from), folded<kCount / 2>(from + kCount / 2 * L),
                            std::make_index_sequence<L>());
  }
}

// y[i] = sum of the lanes of vector i of `from`, halves first; y may begin where `from` does.
template <class T>
void sum_lanes(const T* from, int64_t vectors, T* y) {
  constexpr int L = kLanes<T>;
  int64_t i = 0;
  for (; i + L <= vectors; i += L) store(y + i, folded<L>(from + i * L));
  for (; i < vectors; ++i) {
    T lanes[L];
    store(lanes, load(from + i * L));
    for (int half = L / 2; half > 0; half /= 2) {
      for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    }
    y[i] = lanes[0];
  }
}

template <class T>
void multiply_dots(int64_t outputs, Operand<T> x, int64_t x_step, Operand<T> w, int64_t w_step, int64_t rows,
                   int64_t run, T* y, int64_t y_step, bool add) {
  if (outputs == 1) return multiply_dots<1>(x, x_step, w, w_step, rows, run, y, y_step, add);
  if (outputs == 2) return multiply_dots<2>(x, x_step, w, w_step, rows, run, y, y_step, add);
  if (outputs == 3) return multiply_dots<3>(x, x_step, w, w_step, rows, run, y, y_step, add);
  return multiply_dots<4>(x, x_step, w, w_step, rows, run, y, y_step, add);
}

// y[lane] += sum over i < rows, j < run of x(i, j)[lane] · w(i, j)[lane], in four chains.
template <class T>
void sum_products(Operand<T> x, Operand<T> w, int64_t rows, int64_t run, T* y) {
  Vector<T> sums[4] = {};
  for (int64_t i = 0; i < rows; ++i) {
    const T *xs = x.data + i * x.i, *ws = w.data + i * w.i;
    int64_t j = 0;
    for (; j + 4 <= run; j += 4) {
      LUX_UNROLL
      for (int m = 0; m < 4; ++m) sums[m] += load(xs + (j + m) * x.j) * load(ws + (j + m) * w.j);
    }
    for (; j < run; ++j) sums[0] += load(xs + j * x.j) * load(ws + j * w.j);
  }
  store<T>(y, load(y) + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
}

}  // namespace
