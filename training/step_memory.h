// How much memory a training step takes, before one of its size is tried.
#pragma once

#include "luxgrad/training/stepper.h"
#include "luxgrad/training/trainer.h"

namespace lux {

/// The stage of the recipe whose steps have the most pixels; size 0 where it takes whole pictures.
Stage largest_step(const Recipe& recipe);

/// Bytes of tensors at the worst moment of a training step on so many pixels: parameters, moments, gradients,
/// activations, workspaces, and the pictures themselves; not what a loader holds (`loader_bytes`). Of the
/// options it needs network and recipe. Found on small steps, operator by operator: what is alive after each
/// is a constant plus a share of the pixels; its workspaces soon stop to grow, and are taken as in the
/// largest of those. The same step has the same number, whatever the threads and the device: it is that of
/// the CPU, which computes in bf16 where the device would. `luxgrad info` and `train --dry-run` print it.
int64_t predicted_step_memory(const TrainOptions& options, int64_t pixels);

struct StepCost {
  double seconds = 0;
  int64_t bytes = 0;  ///< of tensors at most, the pictures included, no others that were there before
};

/// Of the second of two steps of a new network on these pictures; nothing else may use tensors meanwhile.
StepCost measured_step(const TrainOptions& options, const StepInput& pictures);

}  // namespace lux
