// Depthwise 3x3 with a stride of 1, forward and both gradients: no channel meets another, so there are no
// products of matrices for tensor cores, and what counts is how often a pixel is read. A thread owns 16 bytes
// of channels of one column and walks down some rows, so that a pixel is loaded 4.5 instead of 9 times, and
// mostly from the first cache level. Several inputs are read where they are, one after the other.
#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/sums.cuh"
#include "luxgrad/kernels/pixel.h"
#include "luxgrad/kernels/slots.h"

namespace lux::cuda {
namespace {

constexpr int kSide = 3, kTaps = kSide * kSide;

// Channels [first, first + own) of pictures [N, rows, columns, width].
template <class T>
struct Channels {
  T* data;
  int64_t rows, columns, width, first;
  LUX_DEVICE T* at(int64_t n, int64_t h, int64_t w, int64_t c) const {
    return data + ((n * rows + h) * columns + w) * width + first + c;
  }
};

constexpr int kRows = 4;        // that a thread makes of a column
constexpr int kMostPacks = 32;  // threads side by side on the channels of a pixel

// y[p, q] = bias + Σ x[p + i - top, q + j - left] · weight[i, j]; of the gradient x is gz, y is gx, and the
// weights are turned around.
template <class T, int L>
struct Depthwise {
  Channels<const T> x;
  Channels<T> y;
  const T *weight, *bias;  // [own, 3, 3], [own] or null
  int64_t own, top, left;
  bool turned;
  int packs;
  int64_t strips, spans, tiles;  // of rows, of columns, of channels

  // One block's work, which is all that 64 bits divide.
  struct Place {
    int64_t n, p, q, tile;
  };
  LUX_DEVICE Place place() const {
    const int64_t block = block_index(), span = block / tiles % spans;
    return {block / tiles / spans / strips, block / tiles / spans % strips * kRows,
            span * (kThreads / packs) + thread_index() / packs, block % tiles * packs * L};
  }

  LUX_DEVICE void operator()() const {
    // Weights in the order in which threads side by side read them: [tap][lane][pack].
    LUX_SHARED Shared<float, kTaps * L * kMostPacks> weights;
    const Place at = place();
    for (int i = thread_index(); i < kTaps * packs * L; i += kThreads) {
      const int64_t c = at.tile + i / kTaps;
      const int tap = turned ? kTaps - 1 - i % kTaps : i % kTaps, channel = i / kTaps;
      weights[(tap * L + channel % L) * packs + channel / L] =
          c < own ? static_cast<float>(weight[c * kTaps + i % kTaps]) : 0.0f;
    }
    sync_threads();
    const int pack = thread_index() % packs;
    const int64_t c = at.tile + pack * L;
    if (thread_index() / packs >= kThreads / packs || at.q >= y.columns || c >= own) return;

    Lanes<L> sums[kRows];
    if (bias != nullptr) {
      const Lanes<L> of = load<L>(bias + c);
      LUX_UNROLL
      for (int r = 0; r < kRows; ++r) sums[r] = of;
    }
    LUX_UNROLL
    for (int j = 0; j < kSide; ++j) {
      const int64_t w = at.q + j - left;
      if (w < 0 || w >= x.columns) continue;
      Lanes<L> taps[kSide];
      LUX_UNROLL
      for (int i = 0; i < kSide; ++i) {
        LUX_UNROLL
        for (int l = 0; l < L; ++l) taps[i][l] = weights[((i * kSide + j) * L + l) * packs + pack];
      }
      LUX_UNROLL
      for (int row = 0; row < kRows + kSide - 1; ++row) {
        const int64_t h = at.p + row - top;
        if (h < 0 || h >= x.rows) continue;
        const Lanes<L> values = load<L>(x.at(at.n, h, w, c));
        LUX_UNROLL
        for (int i = 0; i < kSide; ++i) {
          if (row - i < 0 || row - i >= kRows) continue;
          LUX_UNROLL
          for (int l = 0; l < L; ++l) sums[row - i][l] += values[l] * taps[i][l];
        }
      }
    }
    LUX_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (at.p + r < y.rows) store(y.at(at.n, at.p + r, at.q, c), sums[r]);
    }
  }
};

constexpr int kGradientRows = 8;

// What a load of L elements brings, as it is stored: of bf16 half of the registers that numbers take.
template <class T, int L>
struct Kept {
  Wide wide{};
  LUX_DEVICE static Kept of(const T* p) { return {load_wide(p)}; }
  LUX_DEVICE Lanes<L> lanes() const { return unpacked<L, T>(wide); }
};
template <class T>
struct Kept<T, 1> {
  float value = 0;
  LUX_DEVICE static Kept of(const T* p) { return {static_cast<float>(*p)}; }
  LUX_DEVICE Lanes<1> lanes() const { return {{value}}; }
};

// Σ over all outputs of gz[p, q] · x[p + i - top, q + j - left], for every tap. What `Slabs` calls a pixel
// is some rows of a column of gz, and a row of x meets the three rows of gz that saw it.
template <class T, int L>
struct DepthwiseWeightGradient {
  static constexpr int kBlocksPerProcessor = 2;
  Slabs s;
  Channels<const T> x, gz;
  int64_t top, left, strips;
  float* partial;

  LUX_DEVICE void operator()() const {
    const auto at = cuda::Place::of(s, L);
    Lanes<L> sums[kTaps];
    each_pixel<L>(s, at, [&](int64_t index, int64_t c, bool inside) {
      if (!inside) return;
      const Pixel strip = Pixel::of(index, strips, gz.columns);
      const int64_t begin = strip.h * kGradientRows, rest = gz.rows - begin;
      const T* of_gz = gz.at(strip.n, begin, strip.w, c);
      const T* of_x = x.at(strip.n, begin - top, strip.w - left, c);
      // Numbers of 32 bits, which take half of the registers.
      const int rows = static_cast<int>(rest < kGradientRows ? rest : kGradientRows);
      const int below = static_cast<int>(top - begin), beyond = static_cast<int>(x.rows) + below;
      const int before = static_cast<int>(left - strip.w), behind = static_cast<int>(x.columns) + before;
      Kept<T, L> seen[kSide];  // gz of the rows p, p - 1 and p - 2
      for (int p = 0; p < rows + kSide - 1; ++p) {
        seen[2] = seen[1];
        seen[1] = seen[0];
        seen[0] = p < rows ? Kept<T, L>::of(of_gz) : Kept<T, L>{};
        if (p >= below && p < beyond) {
          LUX_UNROLL
          for (int j = 0; j < kSide; ++j) {
            if (j < before || j >= behind) continue;
            const Lanes<L> values = load<L>(of_x + j * x.width);
            LUX_UNROLL
            for (int i = 0; i < kSide; ++i) {
              const Lanes<L> g = seen[i].lanes();
              LUX_UNROLL
              for (int l = 0; l < L; ++l) sums[i * kSide + j][l] += g[l] * values[l];
            }
          }
        }
        of_gz += gz.columns * gz.width;
        of_x += x.columns * x.width;
      }
    });
    put_partial<L, kTaps>(s, at, sums, partial);
  }
};

template <class T>
struct StoreWeightGradient {
  T* gw;
  int64_t C;
  LUX_DEVICE void operator()(int64_t, int64_t column, float sum) const {
    gw[column % C * kTaps + column / C] = T(sum);
  }
};

template <class T>
Channels<const T> source(const Tensor& x, int64_t first) {
  return {x.data<T>(), x.size(1), x.size(2), x.size(3), first};
}
template <class T>
Channels<T> target(const Tensor& y, int64_t first) {
  return {y.data<T>(), y.size(1), y.size(2), y.size(3), first};
}

// Of `own` channels, which follow `before` others in the weights, and in x or y.
struct Part {
  int64_t own, before;
};

template <class T>
void run(const Channels<const T>& x, const Channels<T>& y, const Conv2dProblem& s, const Part& part,
         bool turned, const Tensor& weight, const Tensor& bias) {
  with_common_lanes<T>({part.own, x.width, x.first, y.width, y.first, part.before}, [&](auto lanes) {
    const int64_t wide = blocks_of(part.own, lanes);
    const int packs = static_cast<int>(wide < kMostPacks ? wide : kMostPacks);
    const Depthwise<T, lanes> kernel{.x = x,
                                     .y = y,
                                     .weight = weight.data<T>() + part.before * kTaps,
                                     .bias = bias.defined() ? bias.data<T>() + part.before : nullptr,
                                     .own = part.own,
                                     .top = turned ? kSide - 1 - s.top : s.top,
                                     .left = turned ? kSide - 1 - s.left : s.left,
                                     .turned = turned,
                                     .packs = packs,
                                     .strips = blocks_of(y.rows, kRows),
                                     .spans = blocks_of(y.columns, kThreads / packs),
                                     .tiles = blocks_of(wide, packs)};
    launch(s.N * kernel.strips * kernel.spans * kernel.tiles, kernel);
  });
}

void forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  must_move("depthwise", inputs);
  must_move("depthwise", {weight, bias, y});
  dispatch_tuned(s.dtype, [&](auto t) {
    using T = decltype(t);
    Part part{0, 0};
    for (const Tensor& x : inputs) {
      part.own = x.size(3);
      run<T>(source<T>(x, 0), target<T>(y, part.before), s, part, false, weight, bias);
      part.before += part.own;
    }
  });
  end_of_slot();
}

void input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                    const std::vector<int64_t>& channels, const Tensors& gx) {
  must_move("depthwise_input_gradient", gx);
  must_move("depthwise_input_gradient", {weight, gz});
  dispatch_tuned(s.dtype, [&](auto t) {
    using T = decltype(t);
    Part part{0, 0};
    for (size_t m = 0; m < gx.size(); part.before += channels[m++]) {
      part.own = channels[m];
      if (gx[m].defined())
        run<T>(source<T>(gz, part.before), target<T>(gx[m], 0), s, part, true, weight, Tensor());
    }
  });
  end_of_slot();
}

void weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz, const Tensor& gw) {
  must_move("depthwise_weight_gradient", inputs);
  must_move("depthwise_weight_gradient", {gz, gw});
  dispatch_tuned(s.dtype, [&](auto t) {
    using T = decltype(t);
    int64_t before = 0;
    const int64_t strips = blocks_of(s.P, kGradientRows);
    for (const Tensor& x : inputs) {
      const int64_t own = x.size(3);
      with_common_lanes<T>({own, s.K, before}, [&](auto lanes) {
        const Slabs slabs = Slabs::of(1, s.N * strips * s.Q, own, lanes);
        const Tensor partial = slabs.partial(kTaps, gz.device());
        launch(slabs.blocks(),
               DepthwiseWeightGradient<T, lanes>{slabs, source<T>(x, 0), source<T>(gz, before), s.top, s.left,
                                                 strips, partial.data<float>()});
        finish_sums(partial, slabs, kTaps, StoreWeightGradient<T>{gw.data<T>() + before * kTaps, own});
      });
      before += own;
    }
  });
  end_of_slot();
}

bool takes(const Conv2dProblem& s) {
  const bool tuned = s.dtype == DType::f32 || s.dtype == DType::bf16;
  const bool depthwise = s.groups > 1 && s.groups == s.C && s.groups == s.K;
  return tuned && depthwise && s.kH == kSide && s.kW == kSide && s.stride == 1 &&
         s.activation == Activation::none && s.N > 0 && s.P > 0 && s.Q > 0;
}

}  // namespace

void add_depthwise(KernelTable<Conv2dKernels>& table, Device::Type device) {
  table.set(device, {"depthwise", takes, forward, input_gradient, weight_gradient});
}

}  // namespace lux::cuda
