// Less memory for more time: a part of a network keeps only what it read, and runs again when its gradients
// are wanted (gradient checkpointing; Chen et al., arXiv:1604.06174).
//
// `backward` runs the part again and goes on through the graph that this makes, which meets the rest of the
// network where the first one did. So gradients are added up in the same order, and have the same bits.
#pragma once

#include <memory>

#include "luxgrad/autograd/node.h"

namespace lux {

namespace detail {

/// A part of a network, type-erased.
struct Part {
  virtual ~Part() = default;
  virtual Tensor operator()(Tensors inputs) const = 0;
};

Tensor recompute(std::unique_ptr<Part> part, const Tensors& inputs);

template <class F>
struct PartOf final : Part {
  explicit PartOf(F f) : f(std::move(f)) {}
  Tensor operator()(Tensors inputs) const override { return f(std::move(inputs)); }
  F f;
};

}  // namespace detail

/// f(inputs), of which the graph keeps the inputs only. `f` is kept, and called a second time by `backward`:
/// it must do the same again, so chance is keyed, and what is written only once asks `recomputing`; what it
/// refers to, such as layers, lives until then. Parameters that it reads are what they were, and its result
/// has the same shape and type, or `backward` throws Error; what was frozen in the forward pass still has to
/// be.
template <class F>
Tensor recompute(F f, const Tensors& inputs) {
  return detail::recompute(std::make_unique<detail::PartOf<F>>(std::move(f)), inputs);
}

/// The same where `on`, else plainly f(inputs). A function that takes its inputs by value may drop them
/// early.
template <class F>
Tensor recompute_if(bool on, F f, Tensors inputs) {
  return on ? recompute(std::move(f), inputs) : f(std::move(inputs));
}

/// Whether this thread runs a part for the second time: moving statistics took notice the first time.
bool recomputing();

}  // namespace lux
