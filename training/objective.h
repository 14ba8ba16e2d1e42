// Objectives: what a training minimises. A step of the algorithm is one update or, for adversaries, several:
// each has its own loss, and moves its own part of the network. The trainer knows no network.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "luxgrad/models/model.h"

namespace lux {

/// A loss and its parts. The terms are unweighted scalars.
struct Loss {
  Tensor total;
  std::vector<std::pair<std::string, Tensor>> terms;
};

/// What a step works on.
struct StepInput {
  Tensor low;              ///< [N, H, W, 3] in [0, 1]
  Tensor high{};           ///< the same shape, or undefined without references
  uint64_t key = 0;        ///< of what chance does in this step, such as dropout
  bool statistics = true;  ///< whether moving statistics take notice; not where a step is run again
  /// What the network computes in; none: as its device does in this precision (`stored_as`).
  std::optional<DType> dtype{};
};

/// One of the updates of a step.
struct Update {
  std::string optimizer{};  ///< updates of the same name share an optimiser and its memory
  /// Whether it moves a parameter; all others are frozen while its loss is computed.
  bool (*moves)(std::string_view parameter) = [](std::string_view) { return true; };
};

class Objective {
 public:
  virtual ~Objective() = default;

  /// Its weights and constants as text, for the configuration of a run; `loss` names it.
  virtual std::map<std::string, std::string> facts() const = 0;
  virtual bool needs_references() const { return true; }
  /// The smallest side of pictures in pixels that it is defined for.
  virtual int64_t smallest_size() const { return 1; }
  virtual std::vector<Update> updates() const { return {Update{}}; }
  /// The same without anything random; null where nothing is.
  virtual std::shared_ptr<const Objective> without_chance() const { return nullptr; }

  /// What the network makes of `low` where it is judged by `high`, or shown beside it. By default as anybody
  /// would use it; a network that is guided in training is guided in the same way.
  virtual Tensor result(const Model& model, const Tensor& low, const Tensor& high) const;

  /// The loss of update `update`, on the device of the network, wherever the pictures are. Throws Error for a
  /// network of another kind and for missing references.
  Loss loss(const Model& model, const StepInput& input, size_t update = 0) const;
  /// The same with its gradients, added to those of the parameters that the update moves. In bf16 on a CUDA
  /// device the network computes with copies of its parameters, and losses in the dtype of the pictures; on
  /// the CPU it keeps as bf16 what gradients need (`NarrowMaps`).
  Loss differentiate(Model& model, const StepInput& input, size_t update = 0) const;

 private:
  /// The network reads and makes what has its dtype; losses have that of the pictures.
  virtual Loss compute(const Model& model, const StepInput& input, size_t update) const = 0;
};

/// `model` as a `Network`. Throws Error where it is none.
template <class Network>
const Network& as(const Model& model) {
  const auto* const network = dynamic_cast<const Network*>(&model);
  check(network != nullptr, "objective: ", model.name(), " is not a network that it can train");
  return *network;
}

}  // namespace lux
