// The difference of two pictures is never stored: the forward adds up its terms, the backward makes both
// gradients from the pictures.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/sums.cuh"

namespace lux::cuda {
namespace {

constexpr int kPacks = 8;  // of a thread

template <PixelLoss loss>
struct Distance {
  float squared_epsilon;

  LUX_DEVICE float value(float d) const {
    if constexpr (loss == PixelLoss::l1) return std::fabs(d);
    if constexpr (loss == PixelLoss::mse) return d * d;
    return std::sqrt(d * d + squared_epsilon);
  }
  LUX_DEVICE float slope(float d) const {
    if constexpr (loss == PixelLoss::l1) return d > 0 ? 1.0f : (d < 0 ? -1.0f : 0.0f);
    if constexpr (loss == PixelLoss::mse) return 2 * d;
    const float root = std::sqrt(d * d + squared_epsilon);
    return root == 0 ? 0 : d / root;
  }
};

template <class T>
struct Pair {
  const T *x, *y;
  int64_t n;
};

// Calls f(i, lanes) for the packs of this thread, with one lane at the end of the pictures.
template <class T, class F>
LUX_DEVICE void each_pack(int64_t n, const F& f) {
  constexpr int kL = kWide<T>;
  for (int k = 0; k < kPacks; ++k) {
    const int64_t i = ((block_index() * kPacks + k) * kThreads + thread_index()) * kL;
    if (i + kL <= n) {
      f(i, std::integral_constant<int, kL>{});
    } else {
      for (int64_t rest = i; rest < n; ++rest) f(rest, std::integral_constant<int, 1>{});
    }
  }
}

template <class T, PixelLoss loss>
struct LossSum {
  Pair<T> in;
  Distance<loss> distance;
  float* partial;

  LUX_DEVICE void operator()() const {
    float sums[1] = {0};
    each_pack<T>(in.n, [&](int64_t i, auto lanes) {
      const Lanes<lanes> x = load<lanes>(in.x + i), y = load<lanes>(in.y + i);
      for (int l = 0; l < lanes; ++l) sums[0] += distance.value(x[l] - y[l]);
    });
    block_sum(sums);
    if (thread_index() == 0) partial[block_index()] = sums[0];
  }
};

template <class T>
struct StoreMean {
  const float* partial;
  int64_t count;
  float n;
  T* loss;

  LUX_DEVICE void operator()() const {
    float sums[1] = {0};
    for (int64_t i = thread_index(); i < count; i += kThreads) sums[0] += partial[i];
    block_sum(sums);
    if (thread_index() == 0) *loss = T(sums[0] / n);
  }
};

template <class T, PixelLoss loss>
struct LossGradient {
  Pair<T> in;
  Distance<loss> distance;
  const T* g;
  T *gx, *gy;  // null where not wanted

  LUX_DEVICE void operator()() const {
    const float share = static_cast<float>(*g) / static_cast<float>(in.n);
    each_pack<T>(in.n, [&](int64_t i, auto lanes) {
      Lanes<lanes> x = load<lanes>(in.x + i), y = load<lanes>(in.y + i);
      for (int l = 0; l < lanes; ++l) {
        x[l] = share * distance.slope(x[l] - y[l]);
        y[l] = -x[l];
      }
      if (gx != nullptr) store(gx + i, x);
      if (gy != nullptr) store(gy + i, y);
    });
  }
};

template <class F>
void with_loss(PixelLoss loss, const F& f) {
  if (loss == PixelLoss::l1) return f(std::integral_constant<PixelLoss, PixelLoss::l1>{});
  if (loss == PixelLoss::mse) return f(std::integral_constant<PixelLoss, PixelLoss::mse>{});
  f(std::integral_constant<PixelLoss, PixelLoss::charbonnier>{});
}

template <class T>
int64_t blocks_of_packs(int64_t n) {
  return blocks_of(n, kThreads * kPacks * kWide<T>);
}

bool pixel_loss(const Tensor& x, const Tensor& y, const PixelLoss& which, const double& epsilon,
                const Tensor& result) {
  if (x.numel() == 0) return false;
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("pixel_loss", {x, y, result});
    const int64_t blocks = blocks_of_packs<T>(x.numel());
    const Tensor partial = empty({blocks}, {DType::f32, x.device()});
    with_loss(which, [&](auto loss) {
      launch(blocks, LossSum<T, loss>{{x.data<T>(), y.data<T>(), x.numel()},
                                      {static_cast<float>(epsilon * epsilon)},
                                      partial.data<float>()});
    });
    launch(1, StoreMean<T>{partial.data<float>(), blocks, static_cast<float>(x.numel()), result.data<T>()});
  });
}

bool pixel_loss_gradient(const Tensor& x, const Tensor& y, const Tensor& g, const PixelLoss& which,
                         const double& epsilon, const Tensor& gx, const Tensor& gy) {
  return dispatch_tuned(x.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("pixel_loss_gradient", {x, y, g, gx, gy});
    with_loss(which, [&](auto loss) {
      launch(blocks_of_packs<T>(x.numel()), LossGradient<T, loss>{{x.data<T>(), y.data<T>(), x.numel()},
                                                                  {static_cast<float>(epsilon * epsilon)},
                                                                  g.data<T>(),
                                                                  data_or_null<T>(gx),
                                                                  data_or_null<T>(gy)});
    });
  });
}

}  // namespace

void fill_pixel_loss(Slots& slots, Device::Type device) {
  slots.pixel_loss.set(device, pixel_loss);
  slots.pixel_loss_gradient.set(device, pixel_loss_gradient);
}

}  // namespace lux::cuda
