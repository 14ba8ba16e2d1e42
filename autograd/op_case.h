// Operator cases: one row per operator and way of using it. The tests check every row in many ways, `luxgrad
// gradcheck` checks its gradients on the user's machine, and the benchmarks time it.
//
//   OP_CASE("concat, rows", {{2, 3, 4}, {2, 1, 4}}, [](const Tensors& x) { return concat(x, 1); });
//   ERROR_CASE("concat", {}, "concat: expected at least one tensor", use);
#pragma once

#include <string>
#include <vector>

#include "luxgrad/autograd/gradcheck.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// One input of a case: its shape, and how its values are drawn. Uniform in [-1, 1] unless told otherwise.
struct CaseInput {
  Shape shape{};
  double low = -1, high = 1;
  std::vector<double> kinks{};  ///< no value closer than kKinkDistance
  bool differentiable = true;

  static constexpr double kKinkDistance = 0.02;

  CaseInput() = default;
  CaseInput(std::initializer_list<int64_t> sizes) : shape(sizes) {}

  CaseInput range(double new_low, double new_high) const;
  CaseInput away_from(std::vector<double> values) const;
  /// Its gradient is neither asked for nor checked.
  CaseInput constant() const;
};

using CaseFunction = Tensor (*)(const Tensors&);

struct CaseOptions {
  /// Inputs big enough that forward or backward is divided among threads, for the checks that need no
  /// gradcheck and for the benchmarks; none: the same as the small ones.
  std::vector<CaseInput> large{};
  /// Largest deviation, of the largest value of a tensor: f32 from f64; bf16 and f16 from f32 on equal
  /// inputs; tuned from plain kernels in f32.
  double f32_bound = 5e-6, bf16_bound = 1e-2, f16_bound = 1.5e-3, tuned_bound = 2e-5;
  int64_t gradcheck_elements = 0;  ///< per input; 0 = all
  double gradcheck_step = 1e-6;
  bool only_gradients = false;  ///< of whole networks, which tests of their own check in all other ways
  bool divided = true;          ///< false: no size of inputs is divided among threads
  bool half = true;             ///< false: in bf16 and f16 nothing meaningful is left to compare
};

/// `name` is the operator's, then, behind a comma, what is special about the row.
struct OpCase {
  std::string name;
  std::vector<CaseInput> inputs;
  CaseFunction run;
  CaseOptions options{};

  /// The name up to the first comma.
  std::string op() const { return name.substr(0, name.find(',')); }
  const std::vector<CaseInput>& large() const { return options.large.empty() ? inputs : options.large; }
};

/// A use that must throw an Error saying exactly `message`.
struct ErrorCase {
  std::string op;
  std::vector<CaseInput> inputs;
  std::string message;
  CaseFunction run;
};

/// Every row linked into this program, sorted by name.
std::vector<OpCase> op_cases();
std::vector<ErrorCase> error_cases();

/// Random inputs for a row, always the same. Values are rounded to f32, so that f32 and f64 see equal
/// numbers; they do not yet require gradients.
Tensors draw(const std::vector<CaseInput>& inputs, DType dtype);

/// The inputs as leaves of a new graph on `device`: copies that require gradients where the row says so.
Tensors leaves(const std::vector<CaseInput>& inputs, const Tensors& values, Device device = kCpu);

/// The gradcheck of one row, in f64 on the small inputs, on `device`.
GradcheckResult gradcheck(const OpCase& row, Device device = kCpu);

namespace detail {
struct Cases {
  std::vector<OpCase> rows;
  std::vector<ErrorCase> errors;

  void add(std::string name, std::vector<CaseInput> inputs, CaseFunction run, CaseOptions options = {});
  void add(std::string op, std::vector<CaseInput> inputs, std::string message, CaseFunction run);
};
/// Rows are made when somebody asks for them: those of whole networks take memory.
struct CaseRegistration {
  explicit CaseRegistration(void (*make)(Cases&));
};
}  // namespace detail

#define LUX_CASE_JOINED(a, b) a##b
#define LUX_CASE_VARIABLE(line) LUX_CASE_JOINED(lux_case_, line)
/// Registers a row at start-up: OP_CASE(name, inputs, function[, options]).
#define OP_CASE(...)                                                        \
  static const ::lux::detail::CaseRegistration LUX_CASE_VARIABLE(__LINE__)( \
      [](::lux::detail::Cases& cases) { cases.add(__VA_ARGS__); })
/// Registers a use that must throw: ERROR_CASE(op, inputs, message, function).
#define ERROR_CASE(...) OP_CASE(__VA_ARGS__)

}  // namespace lux
