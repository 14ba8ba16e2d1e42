// The checks that every operator row passes (docs/adding_an_op.md lists them). Each returns what is wrong, or
// nothing, so that the harness itself can be tested with operators that are wrong on purpose.
#pragma once

#include <span>
#include <string>

#include "luxgrad/autograd/op_case.h"

namespace lux {

struct OpCheck {
  const char* name;
  std::string (*run)(const OpCase&);  ///< empty: passed
};

/// gradients, repetition, threads, f32, bf16 and f16, tuned kernels, memory bounds and alignment, leaks.
std::span<const OpCheck> op_checks();

/// Runs the use; empty if it throws an Error that says exactly the row's message.
std::string check_error(const ErrorCase& row);

/// Names of the operators that were recorded, and of those whose backward ran, while the row ran forward and
/// backward; and of those that an OperatorScope did not name meanwhile, with all that they read.
struct Announced {
  std::vector<std::string> forward, backward, unnamed;
};
Announced announced_by(const OpCase& row);

}  // namespace lux
