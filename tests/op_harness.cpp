#include "op_harness.h"

#include <cmath>

#include "golden.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/operator_scope.h"
#include "same_bits.h"
#include "scopes.h"

namespace lux {
namespace {

// The result of a row and the gradients of its inputs, undefined where not asked for; and whether any of the
// work was in several chunks.
struct Evaluation {
  Tensor y;
  Tensors grads{};
  bool divided = false;
};

// Forward and backward. The gradient of the result is of order 1, of both signs, and exact in every dtype.
Evaluation evaluate(const OpCase& row, const std::vector<CaseInput>& inputs, const Tensors& values) {
  const Tensors x = leaves(inputs, values);
  int64_t sections = divided_sections();
  Evaluation result{row.run(x)};
  result.divided = divided_sections() > sections;
  const Tensor gy = empty(result.y.shape(), {DType::f64, kCpu});
  for (int64_t i = 0; i < gy.numel(); ++i)
    gy.data<double>()[i] = (i % 2 == 0 ? 1 : -1) * (64.0 + static_cast<double>(i * 37 % 128)) / 128;
  const Tensor narrow = gy.to(result.y.dtype());
  sections = divided_sections();
  backward(result.y, narrow);
  result.divided |= divided_sections() > sections;
  for (const Tensor& leaf : x) result.grads.push_back(leaf.grad());
  result.y = result.y.detach();
  return result;
}

// Empty if result and gradients are the same bits.
std::string differing_bits(const Evaluation& a, const Evaluation& b) {
  if (!same_bits(a.y, b.y)) return "the results differ";
  for (size_t k = 0; k < a.grads.size(); ++k) {
    if (!same_bits(a.grads[k], b.grads[k])) return cat("the gradients of input ", k, " differ");
  }
  return {};
}

std::string deviation(const Evaluation& actual, const Evaluation& reference, double bound) {
  std::string text = difference("result", actual.y.to(DType::f64), reference.y.to(DType::f64), bound);
  for (size_t k = 0; k < reference.grads.size() && text.empty(); ++k) {
    if (!reference.grads[k].defined()) continue;
    if (!actual.grads[k].defined()) return cat("no gradient of input ", k);
    text = difference(cat("gradient of input ", k), actual.grads[k].to(DType::f64),
                      reference.grads[k].to(DType::f64), bound);
  }
  return text;
}

std::string gradients(const OpCase& row) {
  const GradcheckResult result = gradcheck(row);
  return result.passed ? "" : result.message();
}

std::string repetition(const OpCase& row) {
  const Tensors values = draw(row.large(), DType::f32);
  return differing_bits(evaluate(row, row.large(), values), evaluate(row, row.large(), values));
}

std::string threads(const OpCase& row) {
  const Tensors values = draw(row.large(), DType::f32);
  Evaluation one;
  {
    const Threads scope(1);
    one = evaluate(row, row.large(), values);
  }
  if (one.divided != row.options.divided) {
    return one.divided ? "is divided among threads, but its row says it is not"
                       : "is too small to be divided among threads: give the row large inputs";
  }
  for (const int count : {2, 3, 5}) {
    const Threads scope(count);
    const std::string difference = differing_bits(one, evaluate(row, row.large(), values));
    if (!difference.empty()) return cat("with ", count, " threads ", difference);
  }
  return {};
}

std::string single_precision(const OpCase& row) {
  return deviation(evaluate(row, row.inputs, draw(row.inputs, DType::f32)),
                   evaluate(row, row.inputs, draw(row.inputs, DType::f64)), row.options.f32_bound);
}

std::string half_precision(const OpCase& row) {
  if (!row.options.half) return {};
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Tensors half = draw(row.inputs, dtype);
    Tensors single;
    for (const Tensor& value : half) single.push_back(value.to(DType::f32));
    const Evaluation actual = evaluate(row, row.inputs, half);
    if (actual.y.dtype() != dtype) return cat("the result of ", dtype, " inputs is ", actual.y.dtype());
    const std::string text = deviation(actual, evaluate(row, row.inputs, single),
                                       dtype == DType::bf16 ? row.options.bf16_bound : row.options.f16_bound);
    if (!text.empty()) return cat(dtype, ": ", text);
  }
  return {};
}

std::string tuned_kernels(const OpCase& row) {
  const Tensors values = draw(row.large(), DType::f32);
  const Evaluation tuned = evaluate(row, row.large(), values);
  const PlainKernels plain;
  return deviation(tuned, evaluate(row, row.large(), values), row.options.tuned_bound);
}

std::string bounds_and_alignment(const OpCase& row) {
  const Tensors values = draw(row.large(), DType::f32);
  const int64_t overruns = memory::stats().overruns;
  std::string text;
  Evaluation reference;
  for (const int shift : {0, 8, 40}) {
    const Evaluation result = [&] {
      const Layout scope({.guard = true, .shift = shift});
      return evaluate(row, row.large(), values);
    }();
    if (shift == 0) reference = result;
    const std::string difference = differing_bits(reference, result);
    if (text.empty() && !difference.empty())
      text = cat("with buffers shifted by ", shift, " bytes ", difference);
  }
  reference = {};  // guards are read when a buffer is given back
  return memory::stats().overruns == overruns ? text : "wrote outside of its buffers";
}

std::string leaks(const OpCase& row) {
  const Tensors values = draw(row.inputs, DType::f32);
  evaluate(row, row.inputs, values);  // what an operator caches once is no leak
  const int64_t live = memory::stats().live;
  evaluate(row, row.inputs, values);
  const int64_t more = memory::stats().live - live;
  return more == 0 ? "" : cat(more, " bytes stay in use");
}

constexpr OpCheck kChecks[] = {
    {"gradients", gradients},
    {"repetition", repetition},
    {"threads", threads},
    {"f32 against f64", single_precision},
    {"bf16 and f16 against f32", half_precision},
    {"tuned against plain", tuned_kernels},
    {"bounds and alignment", bounds_and_alignment},
    {"leaks", leaks},
};

class Names final : public Observer {
 public:
  void on_forward(const char* name, const Tensor&, const Tensors& inputs) override {
    found.forward.emplace_back(name);
    bool named = OperatorScope::text().starts_with(cat(", in ", name, " ["));
    for (const Tensor& x : inputs)
      named &= !x.defined() || OperatorScope::text().find(cat(" ", x.shape())) != std::string::npos;
    if (!named) found.unnamed.push_back(cat(name, OperatorScope::text()));
  }
  void on_backward(const char* name, const Grads&) override {
    found.backward.emplace_back(name);
    if (!OperatorScope::text().starts_with(cat(", in grad ", name, " [")))
      found.unnamed.push_back(cat("grad ", name, OperatorScope::text()));
  }
  Announced found;
};

}  // namespace

std::span<const OpCheck> op_checks() { return kChecks; }

std::string check_error(const ErrorCase& row) {
  try {
    row.run(draw(row.inputs, DType::f32));
  } catch (const Error& error) {
    return error.what() == row.message ? ""
                                       : cat("expected \"", row.message, "\", got \"", error.what(), "\"");
  }
  return cat("expected \"", row.message, "\", got no error");
}

Announced announced_by(const OpCase& row) {
  Names names;
  evaluate(row, row.inputs, draw(row.inputs, DType::f32));
  return names.found;
}

}  // namespace lux
