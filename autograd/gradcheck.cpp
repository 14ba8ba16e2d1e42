#include "luxgrad/autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/tensor/random.h"

namespace lux {
namespace {

// Sum of y · weights, outside the graph.
double project(const Tensor& y, const Tensor& weights) {
  const double* const a = y.data<double>();
  const double* const b = weights.data<double>();
  double sum = 0;
  for (int64_t i = 0; i < y.numel(); ++i) sum += a[i] * b[i];
  return sum;
}

Tensor random_like(const Tensor& y, uint64_t seed) {
  Generator generator(seed, "gradcheck");
  Tensor weights = empty(y.shape(), {DType::f64, kCpu});
  fill_uniform_(weights, 0.5, 1.5, generator);
  for (int64_t i = 1; i < weights.numel(); i += 2) weights.data<double>()[i] *= -1;
  return weights;
}

}  // namespace

std::string GradcheckResult::message() const {
  std::string line = cat(name, passed ? ": ok" : ": FAILED", ", input ", input, " index ", index,
                         ": analytic ", analytic, ", numeric ", numeric);
  return reason.empty() ? line : cat(line, " (", reason, ")");
}

GradcheckResult gradcheck(const std::string& name, FunctionRef<Tensor(const Tensors&)> f,
                          const Tensors& inputs, const GradcheckOptions& options) {
  GradcheckResult worst{.passed = true, .name = name};
  Tensors leaves;
  for (const Tensor& input : inputs) {
    check(input.dtype() == DType::f64, "gradcheck: expected f64 inputs, got ", input.dtype());
    leaves.push_back(input.clone());
    if (input.requires_grad()) leaves.back().requires_grad_();
  }

  const Tensor y = f(leaves);
  if (!y.requires_grad()) {
    return {.passed = false,
            .name = name,
            .error = HUGE_VAL,
            .reason = "the result depends on no input that requires gradients"};
  }
  const Tensor weights = random_like(y, options.seed);
  backward(y, weights);

  const NoGrad no_grad;
  for (size_t k = 0; k < leaves.size(); ++k) {
    if (!leaves[k].requires_grad()) continue;
    const Tensor analytic = leaves[k].grad();
    if (!analytic.defined() || analytic.shape() != leaves[k].shape()) {
      worst = {.passed = false,
               .name = name,
               .input = k,
               .error = HUGE_VAL,
               .reason = "no gradient of the input's shape"};
      return worst;
    }
    const int64_t numel = leaves[k].numel();
    const int64_t step = options.max_elements > 0 ? std::max<int64_t>(1, numel / options.max_elements) : 1;
    std::vector<double> numeric;
    double* const x = leaves[k].data<double>();
    for (int64_t i = 0; i < numel; i += step) {
      const double value = x[i];
      x[i] = value + options.step;
      const double above = project(f(leaves), weights);
      x[i] = value - options.step;
      const double below = project(f(leaves), weights);
      x[i] = value;
      numeric.push_back((above - below) / (2 * options.step));
    }

    double largest = 0, largest_analytic = 0;
    for (const double n : numeric) largest = std::max(largest, std::fabs(n));
    const double* const a = analytic.data<double>();
    for (int64_t i = 0; i < numel; ++i) largest_analytic = std::max(largest_analytic, std::fabs(a[i]));
    if (largest_analytic == 0 || (largest == 0 && step == 1)) {
      const char* const which = largest != 0            ? "the analytic gradient is"
                                : largest_analytic != 0 ? "the numeric gradient is"
                                                        : "both gradients are";
      return {.passed = false,
              .name = name,
              .input = k,
              .error = HUGE_VAL,
              .reason = cat(which, " zero everywhere")};
    }
    const double tolerance = options.relative_tolerance * largest + options.absolute_tolerance;
    for (size_t j = 0; j < numeric.size(); ++j) {
      const int64_t i = static_cast<int64_t>(j) * step;
      const double error = std::fabs(a[i] - numeric[j]) / tolerance;
      const bool bad = !(error <= 1);  // NaN is bad
      if (!(error <= worst.error) && (bad || worst.passed)) {
        worst = {.passed = worst.passed && !bad,
                 .name = name,
                 .input = k,
                 .index = i,
                 .analytic = a[i],
                 .numeric = numeric[j],
                 .error = error,
                 .reason = bad ? cat("difference above ", tolerance) : ""};
      }
    }
  }
  return worst;
}

}  // namespace lux
