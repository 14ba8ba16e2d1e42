#include "luxgrad/tools/roofs.h"

#include <algorithm>
#include <chrono>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/kernels/linear.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/console.h"

namespace lux {
namespace {

constexpr int kAttempts = 5;  // the best counts: others may use the machine, too

// Least seconds in which every thread runs `work` once.
template <class F>
double seconds_of(const F& work) {
  double best = 1e30;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    run_chunks(num_threads(), [&](int64_t thread) { work(thread); });
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

double measured_gflops(double (*multiply_add)(int64_t rounds, float* values)) {
  constexpr int64_t kRounds = int64_t{1} << 19;
  std::vector<double> flops(static_cast<size_t>(num_threads()));
  const double seconds = seconds_of([&](int64_t thread) {
    std::vector<float> values(64, 0.5F);
    flops[static_cast<size_t>(thread)] = multiply_add(kRounds, values.data());
  });
  return flops[0] * num_threads() / seconds * 1e-9;
}

double measured_reading(const cpu::Roofs& core, int64_t bytes) {
  constexpr int64_t kTotal = int64_t{64} << 20;
  const int64_t count = bytes / static_cast<int64_t>(sizeof(float)),
                turns = std::max<int64_t>(1, kTotal / bytes);
  const Tensor memory = full({num_threads(), count}, 1, {DType::f32, kCpu});
  std::vector<float> sums(static_cast<size_t>(num_threads()));
  const double seconds = seconds_of([&](int64_t thread) {
    const float* const own = memory.data<float>() + thread * count;
    for (int64_t turn = 0; turn < turns; ++turn) sums[static_cast<size_t>(thread)] += core.read(own, count);
  });
  return static_cast<double>(bytes * turns * num_threads()) / seconds * 1e-9;
}

// Least seconds of the device for `work`, after a run that does not count.
template <class F>
double device_seconds_of(const F& work) {
  work();
  double best = 1e30;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const cuda::Event start;
    work();
    best = std::min(best, 1e-3 * cuda::Event().milliseconds_since(start));
  }
  return best;
}

}  // namespace

double Roofs::seconds(double flops, double bytes) const {
  if (levels.empty()) return 0;
  const auto level = std::find_if(levels.begin(), levels.end() - 1, [&](const Level& candidate) {
    return bytes <= static_cast<double>(candidate.bytes * num_threads());
  });
  return std::max(flops / (gflops * 1e9), bytes / (level->gigabytes_per_second * 1e9));
}

std::string Roofs::text() const {
  std::string text = cat(fixed(gflops, 0), " GFLOP/s");
  if (bf16_gflops > 0) append(text, cat(" of f32, ", fixed(bf16_gflops, 0), " of bf16"));
  append(text, "; reading");
  for (const Level& level : levels) {
    const bool memory = level.bytes == levels.back().bytes;
    append(text, cat(" ", fixed(level.gigabytes_per_second, 0), " GB/s from ",
                     memory ? "memory" : cat(level.bytes >> 10, " KiB,")));
  }
  return text;
}

Roofs measure_roofs() {
  if (cpu::isa() == nullptr) return {};
  const cpu::Roofs& core = *cpu::isa()->roofs;
  Roofs roofs;
  roofs.gflops = measured_gflops(core.multiply_add);
  if (const cpu::Pairs* const pairs = cpu::isa()->pairs; pairs != nullptr)
    roofs.bf16_gflops = measured_gflops(pairs->multiply_add);
  for (const int64_t kibibytes : {16, 256, 4096, 65536})
    roofs.levels.push_back({kibibytes << 10, measured_reading(core, kibibytes << 10)});
  return roofs;
}

Roofs measure_device_roofs(Device device, DType dtype) {
  const NoGrad no_grad;
  const int64_t side = cuda::is_real() ? 8192 : 32;  // small where the CPU plays the device
  const Tensor a = full({side, side}, 0.5, {dtype, device}), copy = empty({side, side}, {dtype, device});
  const auto number = static_cast<double>(side);
  Roofs roofs;
  roofs.gflops = 2e-9 * number * number * number / device_seconds_of([&] { linear(a, a); });
  const auto bytes = 2 * a.storage()->bytes();
  const double seconds =
      device_seconds_of([&] { cuda::copy(copy.raw(), device, a.raw(), device, a.storage()->bytes()); });
  roofs.levels = {{bytes, 1e-9 * static_cast<double>(bytes) / seconds}};
  return roofs;
}

}  // namespace lux
