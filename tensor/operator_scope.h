// Which operator this thread is in, and what it reads: for the sentence of a launch or an allocation that
// fails on a device meanwhile. Entering one is a few stores; text is made when something has failed.
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// While it lives, this thread is in the operator `name`. Scopes nest, and the innermost is the one that is
/// named. `name` and the inputs, tensors or lists of them, must outlive it; undefined ones are left out.
class OperatorScope {
 public:
  template <class... Inputs>
  explicit OperatorScope(const char* name, const Inputs&... inputs)
      : name_(name), inputs_{all(inputs)...}, outer_(std::exchange(innermost_, this)) {}
  /// In its gradient, for that of its result.
  struct Gradient {};
  OperatorScope(Gradient, const char* name, const Tensor& gy) : OperatorScope(name, gy) {
    is_gradient_ = true;
  }
  ~OperatorScope() { innermost_ = outer_; }
  OperatorScope(const OperatorScope&) = delete;
  OperatorScope& operator=(const OperatorScope&) = delete;

  /// The innermost of this thread, as `, in conv2d [1, 8, 8, 3] [8, 3, 3, 3] [8]`, and
  /// `, in grad conv2d [1, 8, 8, 8]` in its gradient; empty where there is none.
  static std::string text();

 private:
  using Some = std::span<const Tensor>;
  static Some all(const Tensor& x) { return {&x, 1}; }
  static Some all(const Tensors& list) { return list; }

  // Nothing that threads destroy: where there is no memory left to note that, glibc ends the program.
  static thread_local constinit const OperatorScope* innermost_;

  const char* name_;
  std::array<Some, 3> inputs_;
  const OperatorScope* outer_;
  bool is_gradient_ = false;
};

}  // namespace lux
