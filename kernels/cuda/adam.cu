// All parameters in one launch, or a few: the table of tensors travels with it, and what changes from step to
// step is read from memory of the device, so that a recorded launch can be repeated.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/launch.cuh"

namespace lux::cuda {
namespace {

constexpr int kMostTensors = 64;  // of a launch: 3 KB of arguments
constexpr int64_t kChunk = 4096;  // elements of a block
constexpr int kL = kWide<float>;

struct Entry {
  const float* gradient;
  float *parameter, *mean, *square;
  int64_t numel, first_block;
};

struct Scalars {
  float rest1, beta2, rest2, eps, scale, root, keep, decay, done;
};

struct AdamStep {
  Entry entries[kMostTensors];
  int count;
  const float* scalars;

  LUX_DEVICE void operator()() const {
    int e = 0;
    while (e + 1 < count && entries[e + 1].first_block <= block_index()) ++e;
    const Entry& of = entries[e];
    const Scalars s{scalars[0], scalars[1], scalars[2], scalars[3], scalars[4],
                    scalars[5], scalars[6], scalars[7], scalars[8]};
    if (s.done == 0) return;
    const int64_t begin = (block_index() - of.first_block) * kChunk;
    const int64_t end = begin + kChunk < of.numel ? begin + kChunk : of.numel;
    for (int64_t i = begin + thread_index() * kL; i < end; i += kThreads * kL) {
      if (i + kL <= end) {
        update<kL>(of, s, i);
      } else {
        for (int64_t k = i; k < end; ++k) update<1>(of, s, k);
      }
    }
  }

  // θ ← keep·θ − scale · m / (root·√v + ε)
  template <int L>
  LUX_DEVICE static void update(const Entry& of, const Scalars& s, int64_t i) {
    const Lanes<L> gradient = load<L>(of.gradient + i);
    Lanes<L> theta = load_changing<L>(of.parameter + i), m = load_changing<L>(of.mean + i),
             v = load_changing<L>(of.square + i);
    for (int l = 0; l < L; ++l) {
      const float g = gradient[l] + s.decay * theta[l];
      m[l] += s.rest1 * (g - m[l]);
      v[l] = s.beta2 * v[l] + s.rest2 * g * g;
      theta[l] = s.keep * theta[l] - s.scale * m[l] / (s.root * std::sqrt(v[l]) + s.eps);
    }
    store(of.mean + i, m);
    store(of.square + i, v);
    store(of.parameter + i, theta);
  }
};

bool adam(const std::vector<AdamTensors>& tensors, const Tensor& scalars) {
  for (const AdamTensors& t : tensors) {
    if (t.parameter.dtype() != DType::f32) return false;
  }
  for (size_t first = 0; first < tensors.size();) {
    AdamStep step{};
    step.scalars = scalars.data<float>();
    int64_t blocks = 0;
    for (; first < tensors.size() && step.count < kMostTensors; ++first) {
      const AdamTensors& t = tensors[first];
      must_move("adam", {t.gradient, t.parameter, t.parameter, t.mean, t.mean, t.square, t.square});
      if (t.parameter.numel() == 0) continue;
      step.entries[step.count++] = {t.gradient.data<float>(), t.parameter.data<float>(), t.mean.data<float>(),
                                    t.square.data<float>(),   t.parameter.numel(),       blocks};
      blocks += blocks_of(t.parameter.numel(), kChunk);
    }
    if (blocks > 0) launch(blocks, step);
  }
  return true;
}

}  // namespace

void fill_adam(Slots& slots, Device::Type device) { slots.adam.set(device, adam); }

}  // namespace lux::cuda
