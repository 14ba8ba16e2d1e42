// Brightens a photo: enhance dark.jpg bright.jpg
#include "luxgrad/models/enhance.h"

#include "luxgrad/data/image.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/models/default_weights.h"
#include "luxgrad/models/registry.h"

using namespace lux;

int main(int argc, char** argv) {
  check(argc == 3, "expected two file names");
  const TensorFile file = parse_safetensors(default_weights("zero_dce")).value();
  const std::unique_ptr<Model> model = make_model_from(file.metadata);
  model->load_state_dict(file.tensors);
  const Image dark = load_image(argv[1]);
  const Tensor bright = enhance(*model, to_tensor(dark));
  save_image(argv[2], from_tensor(bright, dark));
}
