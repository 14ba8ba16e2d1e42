#include "luxgrad/training/non_finite.h"

#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

/// An update that can be run again, with all pictures or one.
struct Again {
  const Objective& objective;
  size_t update;
  Model& model;

  void run(const StepInput& input) const {
    model.zero_grad();
    StepInput watched = input;
    watched.statistics = false;
    (void)objective.differentiate(model, watched, update);
  }

  void run_alone(const StepInput& input, int64_t picture) const {
    StepInput alone = input;
    alone.low = narrow(input.low, 0, picture, 1);
    if (input.high.defined()) alone.high = narrow(input.high, 0, picture, 1);
    run(alone);
  }
};

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
std::string picture_of(const Again& again, const StepInput& input, const std::vector<std::string>& names,
                       const FirstNonFinite& watch) {
  const int64_t pictures = input.low.size(0);
  const Shape shape = watch.tensor().shape();
  if (shape.rank() == 4 && shape[0] == pictures && weight_of(again.model, watch.tensor()).empty()) {
    return names[static_cast<size_t>(watch.element() / (shape.numel() / pictures))];
  }
  for (int64_t i = 0; i < pictures; ++i) {
    const FirstNonFinite alone;
    again.run_alone(input, i);
    if (!alone.found().empty()) return names[static_cast<size_t>(i)];
  }
  return "";
}

}  // namespace

std::string ruined_state(const Model& model, const State& moments) {
  const auto fault = [](const std::string& name, const Tensor& tensor) {
    const int64_t at = first_non_finite(tensor);
    return at < 0 ? "" : cat(name, " is not finite at element ", at);
  };
  for (const auto& [name, weight] : model.state_dict()) {
    if (std::string ruined = fault(name, weight); !ruined.empty()) return ruined;
  }
  for (const auto& [name, moment] : moments) {
    if (moment.dtype() == DType::i64) continue;  // the number of steps
    if (std::string ruined = fault(name, moment); !ruined.empty()) return ruined;
  }
  return "";
}

std::string first_not_finite(const Objective& objective, size_t update, Model& model, const StepInput& input,
                             const std::vector<std::string>& names) {
  const Again again{objective, update, model};
  const FirstNonFinite watch;
  again.run(input);
  if (watch.found().empty()) return "";
  const std::string source = source_of(model, watch);
  const std::string picture = picture_of(again, input, names, watch);
  return cat(watch.found(), source, picture.empty() ? ", in no picture alone" : ", picture ", picture);
}

}  // namespace lux
