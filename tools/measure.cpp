#include "luxgrad/tools/measure.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tools/console.h"

namespace lux {
namespace {

/// A line of a file like /proc/self/status in bytes: `VmRSS`, `VmHWM`.
int64_t line_of(const char* file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key + ":")) continue;
    int64_t kilobytes = 0;
    std::istringstream(line.substr(key.size() + 1)) >> kilobytes;
    return 1024 * kilobytes;
  }
  return -1;
}

int64_t from_status(const std::string& key) { return line_of("/proc/self/status", key); }

/// The number in a file, -1 where there is none.
int64_t number_in(const char* file) {
  int64_t number = -1;
  std::ifstream(file) >> number;
  return number;
}

}  // namespace

std::string instruction_set() {
  const std::string_view wanted = wanted_kernels();
  if (wanted == "plain" || wanted == "eigen") return std::string(wanted);
  return cpu::isa() == nullptr ? "eigen" : cpu::isa()->name;
}

int64_t resident_bytes() { return from_status("VmRSS"); }
int64_t peak_resident_bytes() { return from_status("VmHWM"); }
int64_t peak_address_bytes() { return from_status("VmPeak"); }
void reset_peak_resident() { std::ofstream("/proc/self/clear_refs") << "5"; }

int64_t available_bytes() {
  const int64_t machine = line_of("/proc/meminfo", "MemAvailable");
  const int64_t most = number_in("/sys/fs/cgroup/memory.max"),
                used = number_in("/sys/fs/cgroup/memory.current");
  if (most <= 0 || used < 0) return machine;
  return machine < 0 ? most - used : std::min(machine, most - used);
}

Tensor noise_picture(int64_t n, int64_t height, int64_t width) {
  Tensor picture = empty({n, height, width, 3});
  Generator generator{1};
  fill_uniform_(picture, 0, 0.3, generator);
  return picture;
}

int64_t predicted_peak(const Model& model, int64_t height, int64_t width) {
  const EnhancePlan plan = enhance_plan(model, height, width);
  int64_t numbers = model.parameter_count();
  if (plan.band > 0) numbers += 6 * height * width;  // else both pictures are among the plan's bytes
  return (plan.bytes + static_cast<int64_t>(sizeof(float)) * numbers) / 8 * 9;
}

int64_t measure_peak(const Model& model, int64_t height, int64_t width, const EnhanceOptions& options,
                     int64_t pictures) {
  if (model.device() != kCpu) {
    const Tensor there = noise_picture(pictures, height, width).to(model.dtype()).to(model.device());
    cuda::reset_memory_peak();
    enhance(model, there);
    return cuda::memory_stats().peak;
  }
  const int64_t cap = set_derived_weight_cap(0);  // a small picture would keep more of them
  enhance(model, noise_picture(1, 16, 16));       // what is set up once does not count
  set_derived_weight_cap(cap);
  memory::trim();
  const int64_t before = resident_bytes();
  reset_peak_resident();
  enhance(model, noise_picture(pictures, height, width), options);
  const int64_t peak = peak_resident_bytes();
  const auto parameters = static_cast<int64_t>(sizeof(float)) * model.parameter_count();
  return before < 0 || peak < 0 ? -1 : peak - before + parameters;
}

std::string megabytes(int64_t bytes) { return fixed(static_cast<double>(bytes) / 1e6, 1) + " MB"; }

}  // namespace lux
