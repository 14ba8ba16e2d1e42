// Initialisers: first values for every parameter of a module. Each parameter draws from a stream of its own,
// keyed by its path, so values depend neither on the order of declaration nor on what else the network has.
// Scales, shifts and slopes, whose weight is a vector, keep the values that their layer gave them.
#pragma once

#include "luxgrad/layers/module.h"
#include "luxgrad/tensor/random.h"

namespace lux {

/// Weights and biases U(±1/√fan_in), fan_in = kH·kW·in/groups of the weight: PyTorch's default for
/// convolutions and linear layers.
void init_fan_in_uniform_(Module& module, const Generator& generator);

/// Weights N(0, deviation²); biases as above, as in Zero-DCE's official code, or 0, as Keras has them beside
/// whatever weights.
enum class FirstBias { fan_in_uniform, zero };
void init_normal_(Module& module, double deviation, const Generator& generator,
                  FirstBias bias = FirstBias::fan_in_uniform);

/// Weights U(±√(6 / (fan_in + fan_out))), biases 0: Keras' default (Glorot and Bengio, AISTATS 2010, Eq. 16).
void init_glorot_uniform_(Module& module, const Generator& generator);

}  // namespace lux
