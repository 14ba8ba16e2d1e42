#include "luxgrad/training/non_finite.h"

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

void run_step(const Recipe& recipe, CurveModel& model, const Batch& batch) {
  model.zero_grad();
  backward(loss_of(recipe, model, batch.low, batch.high).total);
}

/// The batch that holds only picture `i` of `batch`.
Batch single(const Batch& batch, int64_t i) {
  Batch one;
  one.low = narrow(batch.low, 0, i, 1);
  if (batch.high.defined()) one.high = narrow(batch.high, 0, i, 1);
  return one;
}

/// The weight with these bytes, or with this gradient; empty for any other tensor.
std::string weight_of(const Model& model, const Tensor& tensor) {
  for (const auto& [name, weight] : model.named_parameters()) {
    if (tensor.defined() && tensor.storage() == weight.storage()) return name;
    if (tensor.defined() && weight.grad().defined() && tensor.storage() == weight.grad().storage())
      return name;
  }
  return "";
}

/// What the operator read that was not finite before, else the weights that tell which layer it was.
std::string source_of(const Model& model, const FirstNonFinite& watch) {
  std::string weights;
  for (const Tensor& input : watch.inputs()) {
    const std::string name = weight_of(model, input);
    if (const int64_t at = input.defined() ? first_non_finite(input) : -1; at >= 0)
      return cat(", which read ", name.empty() ? "a picture" : name, " that is not finite at element ", at);
    if (!name.empty()) weights += cat(weights.empty() ? ", with " : " and ", name);
  }
  const std::string own = weight_of(model, watch.tensor());
  return own.empty() ? weights : cat(", which is ", own);
}

/// The picture in whose part of a tensor [N, H, W, C] the element stands; else the first that fails alone.
std::string picture_of(const Recipe& recipe, CurveModel& model, const Batch& batch,
                       const FirstNonFinite& watch) {
  const int64_t pictures = batch.low.size(0);
  const Shape shape = watch.tensor().shape();
  if (shape.rank() == 4 && shape[0] == pictures && weight_of(model, watch.tensor()).empty()) {
    return batch.names[static_cast<size_t>(watch.element() / (shape.numel() / pictures))];
  }
  for (int64_t i = 0; i < pictures; ++i) {
    const FirstNonFinite alone;
    run_step(recipe, model, single(batch, i));
    if (!alone.found().empty()) return batch.names[static_cast<size_t>(i)];
  }
  return "";
}

}  // namespace

std::string ruined_state(const Model& model, const Adam& adam) {
  const auto fault = [](const std::string& name, const Tensor& tensor) {
    const int64_t at = first_non_finite(tensor);
    return at < 0 ? "" : cat(name, " is not finite at element ", at);
  };
  for (const auto& [name, weight] : model.named_parameters()) {
    if (std::string ruined = fault(name, weight); !ruined.empty()) return ruined;
  }
  for (const auto& [name, moment] : adam.state_dict()) {
    if (moment.dtype() == DType::i64) continue;  // the number of steps
    if (std::string ruined = fault(name, moment); !ruined.empty()) return ruined;
  }
  return "";
}

std::string first_not_finite(const Recipe& recipe, CurveModel& model, const Batch& batch) {
  const FirstNonFinite watch;
  run_step(recipe, model, batch);
  if (watch.found().empty()) return "";
  const std::string source = source_of(model, watch);
  const std::string picture = picture_of(recipe, model, batch, watch);
  return cat(watch.found(), source, picture.empty() ? ", in no picture alone" : ", picture ", picture);
}

}  // namespace lux
