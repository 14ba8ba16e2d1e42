// How much memory a training step takes, before one of its size is tried.
#pragma once

#include "luxgrad/training/trainer.h"

namespace lux {

/// The stage of the recipe whose steps have the most pixels; size 0 where it takes whole pictures.
Stage largest_step(const Recipe& recipe);

/// Bytes of tensors at the worst moment of a training step on so many pixels: parameters, moments, gradients,
/// activations, workspaces, and the pictures themselves. Of the options it needs network and recipe. Found on
/// two small steps, operator by operator: what is alive at each is a constant plus a share of the pixels.
/// `luxgrad info` and `train --dry-run` print it.
int64_t predicted_step_memory(const TrainOptions& options, int64_t pixels);

/// What `memory::stats` counts at most during the second of two steps on pictures [batch, height, width, 3].
int64_t measured_step_memory(const TrainOptions& options, const Shape& pictures);

}  // namespace lux
