// Hue and saturation of both pictures are never stored: the forward adds up their squares and products of
// each picture, the backward makes them again from the colours.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/sums.cuh"
#include "luxgrad/kernels/hsv_distance.h"
#include "luxgrad/kernels/hsv_forms.h"

namespace lux::cuda {
namespace {

constexpr int kPacks = 4;                                    // of a thread
enum { kXx, kYy, kXy, kOfChannel, kSums = 2 * kOfChannel };  // hue's sums, then saturation's

// L neighbouring colours, by three accesses.
template <int L>
struct Colors {
  Lanes<L> packs[3];

  template <class T>
  LUX_DEVICE static Colors of(const T* pixels) {
    return {{load<L>(pixels), load<L>(pixels + L), load<L>(pixels + 2 * L)}};
  }
  LUX_DEVICE float& at(int i) { return packs[i / L][i % L]; }
  LUX_DEVICE HsvOrder<float> order(int pixel) {
    return {at(3 * pixel), at(3 * pixel + 1), at(3 * pixel + 2)};
  }
};

// The pixels of a picture, and how blocks share them.
struct Share {
  int64_t pixels, blocks;

  template <int L>
  static Share of(const Shape& s) {
    constexpr int64_t kPixels = int64_t{kThreads} * kPacks * L;
    const int64_t pixels = s[1] * s[2];
    return {pixels, blocks_of(pixels, kPixels)};
  }
  LUX_DEVICE int64_t picture() const { return block_index() / blocks; }
  // f(first pixel) for the packs of L of this thread.
  template <int L, class F>
  LUX_DEVICE void each_pack(const F& f) const {
    for (int k = 0; k < kPacks; ++k) {
      const int64_t i = ((block_index() % blocks * kPacks + k) * kThreads + thread_index()) * L;
      if (i < pixels) f(picture() * pixels + i);
    }
  }
};

template <class T, int L>
struct DistanceSums {
  const T *x, *y;
  Share share;
  float* partial;  // [N, blocks, kSums]

  LUX_DEVICE void operator()() const {
    float sums[kSums] = {};
    share.each_pack<L>([&](int64_t pixel) {
      auto dark = Colors<L>::of(x + 3 * pixel), bright = Colors<L>::of(y + 3 * pixel);
      LUX_UNROLL
      for (int l = 0; l < L; ++l) {
        const auto a = dark.order(l), b = bright.order(l);
        add(a.hue(), b.hue(), sums);
        add(a.saturation(), b.saturation(), sums + kOfChannel);
      }
    });
    block_sum(sums);
    if (thread_index() != 0) return;
    for (int k = 0; k < kSums; ++k) partial[block_index() * kSums + k] = sums[k];
  }

  LUX_DEVICE static void add(float a, float b, float* sums) {
    sums[kXx] += a * a;
    sums[kYy] += b * b;
    sums[kXy] += a * b;
  }
};

struct KeepSum {
  float* sums;
  LUX_DEVICE void operator()(int64_t picture, int64_t k, float sum) const { sums[picture * kSums + k] = sum; }
};

// Of the vectors of a channel of a picture: 1/(|x||y|), and by how much of itself each is turned: 0 where its
// length is not its own.
struct Angle {
  float scale, cosine, along_x, along_y;

  LUX_DEVICE explicit Angle(const float* sums) {
    constexpr float kLeast = static_cast<float>(kLeastSquares);
    const float xx = sums[kXx] > kLeast ? sums[kXx] : kLeast, yy = sums[kYy] > kLeast ? sums[kYy] : kLeast;
    scale = 1 / (std::sqrt(xx) * std::sqrt(yy));
    cosine = sums[kXy] * scale;
    along_x = sums[kXx] > kLeast ? cosine / xx : 0;
    along_y = sums[kYy] > kLeast ? cosine / yy : 0;
  }
};

template <class T>
struct StoreDistances {
  const float* sums;  // [N, kSums]
  int64_t N;
  T* distances;

  LUX_DEVICE void operator()() const {
    float cosines[2] = {};
    for (int64_t n = thread_index(); n < N; n += kThreads) {
      for (int c = 0; c < 2; ++c) cosines[c] += Angle(sums + n * kSums + c * kOfChannel).cosine;
    }
    block_sum(cosines);
    if (thread_index() != 0) return;
    for (int c = 0; c < 2; ++c) distances[c] = T(1 - cosines[c] / static_cast<float>(N));
  }
};

// d cosine / dx = y/(|x||y|) - x·cosine/|x|², and the other way round.
template <class T, int L>
struct DistanceGradient {
  const T *x, *y, *g;
  Share share;
  const float* sums;
  float N;
  T *gx, *gy;  // null where not wanted

  LUX_DEVICE void operator()() const {
    const float* const own = sums + share.picture() * kSums;
    const Angle hue(own), saturation(own + kOfChannel);
    const float of_hue = -static_cast<float>(g[0]) / N, of_saturation = -static_cast<float>(g[1]) / N;
    share.each_pack<L>([&](int64_t pixel) {
      auto dark = Colors<L>::of(x + 3 * pixel), bright = Colors<L>::of(y + 3 * pixel);
      LUX_UNROLL
      for (int l = 0; l < L; ++l) {
        const auto a = dark.order(l), b = bright.order(l);
        const float h[] = {a.hue(), b.hue()}, s[] = {a.saturation(), b.saturation()};
        put(dark, l, a, of_hue * (h[1] * hue.scale - h[0] * hue.along_x),
            of_saturation * (s[1] * saturation.scale - s[0] * saturation.along_x));
        put(bright, l, b, of_hue * (h[0] * hue.scale - h[1] * hue.along_y),
            of_saturation * (s[0] * saturation.scale - s[1] * saturation.along_y));
      }
      store_colors(gx, pixel, dark);
      store_colors(gy, pixel, bright);
    });
  }

  LUX_DEVICE static void put(Colors<L>& colors, int l, const HsvOrder<float>& order, float hue,
                             float saturation) {
    for (int c = 0; c < 3; ++c) colors.at(3 * l + c) = order.gradient(c, hue, saturation, 0);
  }
  LUX_DEVICE static void store_colors(T* to, int64_t pixel, const Colors<L>& colors) {
    if (to == nullptr) return;
    for (int k = 0; k < 3; ++k) store(to + 3 * pixel + k * L, colors.packs[k]);
  }
};

bool hsv_distance(const Tensor& x, const Tensor& y, const Tensor& distances, const Tensor& sums) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("hsv_distance", {x, y, distances});
    const int64_t N = x.size(0);
    with_lanes<T>(x.size(1) * x.size(2), [&](auto lanes) {
      const Share share = Share::of<lanes>(x.shape());
      const Tensor partial = empty({N, share.blocks, kSums}, sums.options());
      launch(N * share.blocks,
             DistanceSums<T, lanes>{x.data<T>(), y.data<T>(), share, partial.data<float>()});
      const FinishSums<KeepSum> finish{partial.data<float>(), N, share.blocks, kSums, {sums.data<float>()}};
      launch(finish.blocks(), finish);
    });
    launch(1, StoreDistances<T>{sums.data<float>(), N, distances.data<T>()});
  });
}

bool hsv_distance_gradient(const Tensor& x, const Tensor& y, const Tensor& g, const Tensor& sums,
                           const Tensor& gx, const Tensor& gy) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("hsv_distance_gradient", {x, y, g, gx, gy});
    with_lanes<T>(x.size(1) * x.size(2), [&](auto lanes) {
      const Share share = Share::of<lanes>(x.shape());
      launch(x.size(0) * share.blocks,
             DistanceGradient<T, lanes>{x.data<T>(), y.data<T>(), g.data<T>(), share, sums.data<float>(),
                                        static_cast<float>(x.size(0)), data_or_null<T>(gx),
                                        data_or_null<T>(gy)});
    });
  });
}

}  // namespace

void fill_hsv_distance(Slots& slots, Device::Type device) {
  slots.hsv_distance.set(device, hsv_distance);
  slots.hsv_distance_gradient.set(device, hsv_distance_gradient);
}

}  // namespace lux::cuda
