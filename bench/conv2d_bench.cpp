// Times conv2d, tuned and plain, in GFLOP/s of direct convolution: the layers of Zero-DCE and the square
// shapes of the literature, forward and both gradients. Usage: conv2d_bench [seconds per figure]; with
// LUX_KERNELS=eigen it is the matrix products of Eigen that are timed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/thread_pool.h"

using namespace lux;

namespace {

struct Layer {
  const char* name;
  Shape x;
  int64_t outputs, kernel, groups = 1;
};

const Layer kLayers[] = {
    {"3x3   32 ->  32, 256x256", {1, 256, 256, 32}, 32, 3},
    {"3x3   64 ->  64, 128x128", {1, 128, 128, 64}, 64, 3},
    {"3x3  256 -> 256, 64x64", {1, 64, 64, 256}, 256, 3},
    {"3x3   64 ->  64, 256x256", {1, 256, 256, 64}, 64, 3},
    {"3x3   32 ->  32, 1200x900", {1, 900, 1200, 32}, 32, 3},
    {"3x3    3 ->  32, 1200x900", {1, 900, 1200, 3}, 32, 3},
    {"3x3   64 ->  24, 1200x900", {1, 900, 1200, 64}, 24, 3},
    {"1x1   32 ->  32, 1200x900", {1, 900, 1200, 32}, 32, 1},
    {"1x1  256 -> 256, 128x128", {1, 128, 128, 256}, 256, 1},
    {"3x3 depthwise 32, 1200x900", {1, 900, 1200, 32}, 32, 3, 32},
};

// Best of repeated calls, in seconds.
template <class F>
double best_time(double budget, const F& f) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  const auto start = Clock::now();
  do {
    const auto before = Clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - before).count());
  } while (std::chrono::duration<double>(Clock::now() - start).count() < budget);
  return best;
}

Tensor noise(const Shape& shape, uint64_t seed) {
  Tensor tensor = empty(shape);
  Generator generator(seed);
  fill_uniform_(tensor, -1, 1, generator);
  return tensor;
}

void time_layer(const Layer& layer, bool plain, double budget) {
  const int64_t channels = layer.x[3], depth = channels / layer.groups;
  const Tensor x = noise(layer.x, 1), w = noise({layer.outputs, layer.kernel, layer.kernel, depth}, 2);
  const Conv2dOptions options{.padding = layer.kernel / 2, .groups = layer.groups};
  std::optional<PlainKernels> scope;
  if (plain) scope.emplace();
  const Tensor gy = noise(layer.x.with(3, layer.outputs), 3);
  const double flops = 2.0 * static_cast<double>(gy.numel() * layer.kernel * layer.kernel * depth) * 1e-9;
  const auto gradient = [&](bool of_x, bool of_w) {
    const Tensor a = x.detach().requires_grad_(of_x), b = w.detach().requires_grad_(of_w);
    backward(conv2d(a, b, {}, options), gy);
  };
  const double forward = best_time(budget, [&] { conv2d(x, w, {}, options); });
  const double both = best_time(budget, [&] { gradient(true, false); });
  const double weights = best_time(budget, [&] { gradient(false, true); });
  std::printf("%-28s %-6s %8.1f ms %7.1f %9.1f %9.1f\n", layer.name, plain ? "plain" : "tuned", forward * 1e3,
              flops / forward, flops / (both - forward), flops / (weights - forward));
}

}  // namespace

int main(int argc, char** argv) {
  const double budget = argc > 1 ? std::strtod(argv[1], nullptr) : 0.5;
  std::printf("%d threads\n%-28s %-6s %11s %7s %9s %9s  (GFLOP/s)\n", num_threads(), "layer", "", "",
              "forward", "to input", "to weight");
  for (const Layer& layer : kLayers) {
    time_layer(layer, false, budget);
    if (layer.x.numel() <= 1 << 22) time_layer(layer, true, 0);
  }
  return 0;
}
