// Weights as other programs store them, as the state of our networks.
//
// Parameters carry the names of the authors' checkpoints, so little is left to translate: what the weights
// are wrapped in, PyTorch's layout of convolutions, values that a checkpoint stores several times, and
// entries that are no weights.
#pragma once

#include <string>

#include "luxgrad/models/model.h"

namespace lux {

/// The name of the model whose parameters these are, empty where it is none that we know.
std::string model_of_weights(const State& file);

/// What a file holds, under the names and in the layout of `model`. Of `state_dict/…`, `params/…` and the
/// like (data/pth.h) only that dictionary is taken; `module.` before all names is dropped. The official
/// checkpoints of `zero_dce`, `zero_dce_plus`, `mirnet_v1` and `mirnet_v2` may be in PyTorch's layout:
/// weights [out, in, kH, kW], of transposed convolutions [in, out, kH, kW]. What is not known is left as it
/// is, for `load_state_dict` to name. Throws StateMismatch where copies of one value differ.
State adapted_weights(const Model& model, const State& file);

/// The same for a part of a larger network of PyTorch, such as `Vgg16`: what the part does not have is left
/// out.
State trunk_weights(const Module& trunk, const State& file);

}  // namespace lux
