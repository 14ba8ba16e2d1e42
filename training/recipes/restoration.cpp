#include "luxgrad/training/recipes/restoration.h"

#include "luxgrad/kernels/activations.h"
#include "luxgrad/models/restorer.h"

namespace lux {

Restoration::Restoration(std::string name, Distance distance, bool within)
    : name_(std::move(name)), distance_(distance), within_(within) {}

std::map<std::string, std::string> Restoration::facts() const {
  return {{"loss", name_}, {"loss.within", within_ ? "true" : "false"}, {"weight." + name_, "1"}};
}

Loss Restoration::compute(const Model& model, const StepInput& input, size_t) const {
  const Tensor drawn = as<Restorer>(model).forward(input.low);
  const Tensor distance = distance_(within_ ? clamp(drawn, 0, 1) : drawn, input.high);
  return {distance, {{name_, distance}}};
}

}  // namespace lux
