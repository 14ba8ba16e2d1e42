// The door that every operator passes: `differentiable` records how a result was made, or, when nobody wants
// a gradient, records nothing. The gradient is a closure written directly under the forward.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "luxgrad/tensor/operator_scope.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Gradients with respect to the inputs of an operator, in their order. Undefined where `need(i)` is false.
using Grads = std::vector<Tensor>;

/// Tells a backward closure which inputs want a gradient.
class Need {
 public:
  explicit Need(const std::vector<std::shared_ptr<GradSlot>>& inputs) : inputs_(&inputs) {}
  bool operator()(size_t input) const { return (*inputs_)[input] != nullptr; }

 private:
  const std::vector<std::shared_ptr<GradSlot>>* inputs_;
};

/// A tensor captured by a backward closure: detached, and guarded against being changed before it is used.
class Saved {
 public:
  explicit Saved(const Tensor& tensor)
      : tensor_(tensor.detach()), version_(tensor.defined() ? tensor.storage()->version() : 0) {}
  /// The captured tensor. Throws Error when its bytes were written in place since.
  const Tensor& get() const;

 private:
  Tensor tensor_;
  uint64_t version_;
};

/// The backward closure of a node, type-erased.
struct Closure {
  virtual ~Closure() = default;
  virtual Grads run(const Tensor& gy, const Need& need) = 0;
  /// Instead of `run`, where the result is computed again (autograd/recompute.h): the result with a new graph
  /// that ends in `inputs`, through which the gradient flows on. Undefined where `run` has the gradients.
  virtual Tensor rerun(const std::vector<std::shared_ptr<GradSlot>>& inputs) {
    (void)inputs;
    return {};
  }
};

/// One executed operator. Its `sequence` grows with creation, so creation order is a topological order.
struct Node : GradSlot {
  Node(const char* name, std::vector<std::shared_ptr<GradSlot>> inputs, std::unique_ptr<Closure> closure);
  ~Node() override;  // iterative: a graph of any depth is destroyed without recursion

  const char* name;
  uint64_t sequence;
  std::vector<std::shared_ptr<GradSlot>> inputs;  // null where no gradient is wanted
  std::unique_ptr<Closure> closure;               // null once consumed by `backward`
  std::shared_ptr<Node> next_released;            // only while a graph is destroyed
};

/// Whether operators record themselves in this thread.
bool grad_enabled();

/// While it lives, operators of this thread record nothing: inference, metrics, optimiser steps.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

/// The opposite, within a `NoGrad`.
class WithGrad {
 public:
  WithGrad();
  ~WithGrad();
  WithGrad(const WithGrad&) = delete;
  WithGrad& operator=(const WithGrad&) = delete;

 private:
  bool before_;
};

/// Whether an operator of these inputs, undefined ones among them, records itself in this thread.
bool is_recorded(const Tensors& inputs);

namespace detail {
void announce(const char* name, const Tensor& y, const Tensors& inputs);  // to the observers
Tensor record(const char* name, Tensor y, const Tensors& inputs, std::unique_ptr<Closure> closure);

template <class F>
struct ClosureOf final : Closure {
  explicit ClosureOf(F f) : f(std::move(f)) {}
  Grads run(const Tensor& gy, const Need& need) override {
    if constexpr (std::is_invocable_v<F&, const Tensor&, const Need&>)
      return f(gy, need);
    else
      return f(gy);
  }
  F f;
};
}  // namespace detail

/// Marks `y` as the result of operator `name` on `inputs`. `backward` is called at most once, as `(gy, need)`
/// or `(gy)`, and returns one gradient per input; it captures tensors through `Saved`, and the least that it
/// needs. Optional inputs (a bias) may be undefined. The operator begins with an OperatorScope of that name.
template <class F>
Tensor differentiable(const char* name, Tensor y, const Tensors& inputs, F backward) {
  detail::announce(name, y, inputs);
  if (!is_recorded(inputs)) return y;
  return detail::record(name, std::move(y), inputs,
                        std::make_unique<detail::ClosureOf<F>>(std::move(backward)));
}

}  // namespace lux
