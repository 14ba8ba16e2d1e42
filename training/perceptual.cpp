#include "luxgrad/training/perceptual.h"

#include "luxgrad/data/file.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/data/tensor_file.h"
#include "luxgrad/models/official_weights.h"
#include "luxgrad/models/vgg16.h"
#include "luxgrad/training/recipes/restoration.h"

namespace lux {

Recipe with_perceptual(Recipe recipe, const PerceptualOptions& options) {
  const auto* const restoration = dynamic_cast<const Restoration*>(recipe.objective.get());
  check(restoration != nullptr, "perceptual: recipe ", recipe.name,
        " does not compare pictures with references alone, so it takes no such term");
  check(options.weight > 0, "perceptual: expected a positive weight, got ", options.weight);
  auto trunk = std::make_shared<Vgg16>(vgg16_tap(options.layer));
  const std::vector<uint8_t> bytes = read_file(options.file).value();
  const TensorFile file = parse_tensor_file(bytes).in_file(options.file).value();
  trunk->load_state_dict(trunk_weights(*trunk, file.tensors));
  recipe.objective =
      std::make_shared<Restoration>(restoration->with({std::move(trunk), options.weight, sha256(bytes)}));
  return recipe;
}

}  // namespace lux
