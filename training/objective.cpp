#include "luxgrad/training/objective.h"

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"

namespace lux {

Loss Objective::loss(const Model& model, const StepInput& input, size_t update) const {
  check(!needs_references() || input.high.defined(), "objective: expected pictures with references");
  StepInput there = input;
  there.low = input.low.to(model.device());
  if (input.high.defined()) there.high = input.high.to(model.device());
  return compute(model, there, update);
}

Loss Objective::differentiate(Model& model, const StepInput& input, size_t update) const {
  const Update moved = updates().at(update);
  // Until the end, for what is computed again on the way back.
  const Frozen frozen(model, [&](std::string_view name) { return !moved.moves(name); });
  const DType stored = input.dtype.value_or(stored_as(model.dtype(), model.device()));
  const Cast cast(model, stored);
  // The CPU computes in f32 what a device stores as bf16 throughout, and keeps it as bf16.
  const NarrowMaps narrow(model.device() == kCpu && stored == DType::f32 && precision() == Precision::bf16);
  Loss result = loss(model, input, update);
  backward(result.total);
  return result;
}

Tensor Objective::result(const Model& model, const Tensor& low, const Tensor&) const {
  return enhance(model, low);
}

}  // namespace lux
