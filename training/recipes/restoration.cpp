#include "luxgrad/training/recipes/restoration.h"

#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/cast.h"
#include "luxgrad/losses/perceptual.h"
#include "luxgrad/models/restorer.h"
#include "luxgrad/tensor/text.h"

namespace lux {

Restoration::Restoration(std::string name, Distance distance, bool within)
    : name_(std::move(name)), distance_(distance), within_(within) {}

Restoration Restoration::with(PerceptualTerm term) const {
  Restoration more = *this;
  more.perceptual_ = std::move(term);
  return more;
}

std::map<std::string, std::string> Restoration::facts() const {
  std::map<std::string, std::string> facts{
      {"loss", name_}, {"loss.within", within_ ? "true" : "false"}, {"weight." + name_, "1"}};
  if (perceptual_.trunk != nullptr) {
    facts["loss.perceptual"] = cat("vgg16 ", perceptual_.trunk->tap_name());
    facts["loss.perceptual_sha256"] = perceptual_.sha256;
    facts["weight.perceptual"] = exact_text(perceptual_.weight);
  }
  return facts;
}

int64_t Restoration::smallest_size() const {
  return perceptual_.trunk == nullptr ? 1 : perceptual_.trunk->smallest_size();
}

Loss Restoration::compute(const Model& model, const StepInput& input, size_t) const {
  const Tensor drawn = cast(as<Restorer>(model).forward(cast(input.low, model.dtype())), input.low.dtype());
  const Tensor picture = within_ ? clamp(drawn, 0, 1) : drawn;
  const Tensor distance = distance_(picture, input.high);
  if (perceptual_.trunk == nullptr) return {distance, {{name_, distance}}};
  const Tensor seen = perceptual_loss(picture, input.high, *perceptual_.trunk);
  return {distance + perceptual_.weight * seen, {{name_, distance}, {"perceptual", seen}}};
}

}  // namespace lux
