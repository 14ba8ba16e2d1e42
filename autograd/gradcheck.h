// Gradient checks that cannot pass by accident: analytic against numeric gradients in float64.
#pragma once

#include <string>

#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

struct GradcheckOptions {
  double step = 1e-6;                ///< of the central difference
  double relative_tolerance = 1e-5;  ///< of the largest numeric gradient of the same input
  double absolute_tolerance = 1e-9;
  uint64_t seed = 1;  ///< of the random projection of the output, and of the sample of elements
  /// Elements checked per input, one at random from each of so many runs of equal length; 0: all.
  int64_t max_elements = 0;
};

/// The outcome for one operator, with the worst element over all inputs.
struct GradcheckResult {
  bool passed = false;
  std::string name{};
  size_t input = 0;
  int64_t index = 0;
  double analytic = 0;
  double numeric = 0;
  double error = 0;  ///< |analytic - numeric| over the tolerance; at most 1 passes
  std::string reason{};

  /// One line for a log: name, verdict, input, index, both values, reason.
  std::string message() const;
};

/// Compares the gradients of `f` at `inputs` (f64; those that require gradients are checked) with central
/// differences. The output, of any shape, is projected with fixed random weights so that gradients are of
/// order 1. Fails when a gradient is zero at every checked element, analytic or numeric: the operator would
/// ignore the input.
GradcheckResult gradcheck(const std::string& name, FunctionRef<Tensor(const Tensors&)> f,
                          const Tensors& inputs, const GradcheckOptions& options = {});

}  // namespace lux
