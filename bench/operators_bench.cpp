// Times every operator row, forward and backward, on its large inputs in f32: operators_bench [words of a
// row's name]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/tensor/thread_pool.h"

using namespace lux;

namespace {

constexpr double kSeconds = 0.2;  // per row and direction

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Milliseconds {
  double forward, backward;
};

// Medians over as many runs as fit into the time.
Milliseconds measure(const OpCase& row) {
  const Tensors values = draw(row.large(), DType::f32);
  std::vector<double> forward, backward_times;
  const double end = now() + 2 * kSeconds;
  while (forward.size() < 3 || now() < end) {
    const Tensors x = leaves(row.large(), values);
    const double start = now();
    const Tensor y = row.run(x);
    const double middle = now();
    backward(y, full(y.shape(), 1, y.options()));
    const double finish = now();
    forward.push_back(middle - start);
    backward_times.push_back(finish - middle);
  }
  const auto median = [](std::vector<double>& times) {
    std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size()) / 2, times.end());
    return 1000 * times[times.size() / 2];
  };
  return {median(forward), median(backward_times)};
}

}  // namespace

int main(int argc, char** argv) {
  std::string filter;
  for (int i = 1; i < argc; ++i) filter += cat(i > 1 ? " " : "", static_cast<const char*>(argv[i]));
  std::printf("%d threads, f32, medians in ms\n%-52s %12s %10s %10s\n", num_threads(), "row", "elements",
              "forward", "backward");
  for (const OpCase& row : op_cases()) {
    if (row.name.find(filter) == std::string::npos) continue;
    int64_t elements = 0;
    for (const CaseInput& input : row.large()) elements += input.shape.numel();
    const Milliseconds time = measure(row);
    std::printf("%-52s %12lld %10.4f %10.4f\n", row.name.c_str(), static_cast<long long>(elements),
                time.forward, time.backward);
  }
  return 0;
}
