#include "luxgrad/autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

// Sum of y · weights, outside the graph.
double project(const Tensor& result, const Tensor& weights) {
  const Tensor y = result.to(kCpu);
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

// The elements of an input that are checked, rising: all, or one keyed-random element of each of `most` runs
// of equal length. An even stride would share a factor with the shape and meet the same channel every time.
std::vector<int64_t> checked_elements(int64_t numel, int64_t most, Generator generator) {
  const int64_t count = most > 0 ? std::min(numel, most) : numel;
  std::vector<int64_t> elements(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = numel * i / count, end = numel * (i + 1) / count;
    elements[static_cast<size_t>(i)] =
        begin + static_cast<int64_t>(generator.below(static_cast<uint64_t>(end - begin)));
  }
  return elements;
}

// Central differences of the projected output, element by element. Every write raises the version, so that
// nothing kept from another value is used.
std::vector<double> numeric_gradient(FunctionRef<Tensor(const Tensors&)> f, const Tensors& leaves,
                                     const Tensor& leaf, const std::vector<int64_t>& elements,
                                     const Tensor& weights, double step) {
  const Tensor here = leaf.to(kCpu);  // on the CPU the same bytes
  double* const x = here.data<double>();
  const auto set = [&](int64_t i, double value) {
    x[i] = value;
    leaf.storage()->raise_version();
    if (leaf.device() != kCpu) copy_(leaf, here);
  };
  std::vector<double> gradient;
  for (const int64_t i : elements) {
    const double value = x[i];
    set(i, value + step);
    const double above = project(f(leaves), weights);
    set(i, value - step);
    const double below = project(f(leaves), weights);
    set(i, value);
    gradient.push_back((above - below) / (2 * step));
  }
  return gradient;
}

size_t index_of_largest(const std::vector<double>& values) {
  const auto less = [](double a, double b) { return std::fabs(a) < std::fabs(b); };
  return static_cast<size_t>(std::max_element(values.begin(), values.end(), less) - values.begin());
}

// The verdict on one input: its worst element.
GradcheckResult compare(const std::vector<int64_t>& elements, const std::vector<double>& analytic,
                        const std::vector<double>& numeric, const GradcheckOptions& options) {
  if (elements.empty()) return {.error = HUGE_VAL, .reason = "the input has no elements"};
  const size_t by_analytic = index_of_largest(analytic), by_numeric = index_of_largest(numeric);
  const bool no_analytic = analytic[by_analytic] == 0, no_numeric = numeric[by_numeric] == 0;
  if (no_analytic || no_numeric) {
    const size_t at = no_analytic ? by_numeric : by_analytic;
    const char* const which = !no_numeric    ? "the analytic gradient is"
                              : !no_analytic ? "the numeric gradient is"
                                             : "both gradients are";
    return {.index = elements[at],
            .analytic = analytic[at],
            .numeric = numeric[at],
            .error = HUGE_VAL,
            .reason = cat(which, " zero everywhere")};
  }
  const double tolerance =
      options.relative_tolerance * std::fabs(numeric[by_numeric]) + options.absolute_tolerance;
  GradcheckResult worst{.passed = true, .error = -1};
  for (size_t j = 0; j < elements.size() && !std::isnan(worst.error); ++j) {
    const double error = std::fabs(analytic[j] - numeric[j]) / tolerance;
    if (error <= worst.error) continue;
    const bool bad = !(error <= 1);  // NaN is bad
    worst = {.passed = !bad,
             .index = elements[j],
             .analytic = analytic[j],
             .numeric = numeric[j],
             .error = error,
             .reason = bad ? cat("difference above ", tolerance) : ""};
  }
  return worst;
}

}  // namespace

std::string GradcheckResult::message() const {
  std::string line = cat(name, passed ? ": ok" : ": FAILED", ", input ", input, " index ", index,
                         ": analytic ", analytic, ", numeric ", numeric);
  return reason.empty() ? line : cat(line, " (", reason, ")");
}

GradcheckResult gradcheck(const std::string& name, FunctionRef<Tensor(const Tensors&)> f,
                          const Tensors& inputs, const GradcheckOptions& options) {
  Tensors leaves;
  for (const Tensor& input : inputs) {
    check(input.dtype() == DType::f64, "gradcheck: expected f64 inputs, got ", input.dtype());
    leaves.push_back(input.clone());
    if (input.requires_grad()) leaves.back().requires_grad_();
  }

  const Tensor y = f(leaves);
  if (!y.requires_grad()) {
    return {
        .name = name, .error = HUGE_VAL, .reason = "the result depends on no input that requires gradients"};
  }
  const Tensor weights = random_like(y, options.seed);
  backward(y, weights.to(y.device()));

  const NoGrad no_grad;
  GradcheckResult worst{.passed = true, .name = name, .error = -1};
  for (size_t k = 0; k < leaves.size(); ++k) {
    if (!leaves[k].requires_grad()) continue;
    const Tensor gradient = leaves[k].grad().defined() ? leaves[k].grad().to(kCpu) : Tensor();
    if (!gradient.defined() || gradient.shape() != leaves[k].shape()) {
      return {.name = name, .input = k, .error = HUGE_VAL, .reason = "no gradient of the input's shape"};
    }
    const std::vector<int64_t> elements = checked_elements(
        leaves[k].numel(), options.max_elements, Generator(options.seed, "gradcheck elements").fork(k));
    std::vector<double> analytic;
    analytic.reserve(elements.size());
    for (const int64_t i : elements) analytic.push_back(gradient.data<double>()[i]);
    GradcheckResult result = compare(
        elements, analytic, numeric_gradient(f, leaves, leaves[k], elements, weights, options.step), options);
    result.name = name;
    result.input = k;
    if (!result.passed) return result;
    if (!(result.error <= worst.error)) worst = std::move(result);
  }
  return worst;
}

}  // namespace lux
