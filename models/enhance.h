// From a picture to its enhancement, whatever its size.
#pragma once

#include <string>

#include "luxgrad/models/model.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux {

struct EnhanceOptions {
  double strength = 1;  ///< how much of the enhancement, 0 to 1
  /// How the network runs: rows at a time where it can and the picture is large, always whole, or always rows
  /// at a time. The results are the same bits.
  enum Order { automatic, whole, by_rows } order = automatic;
};

/// picture [N, H, W, 3] in [0, 1] -> the same shape. Pads to the network's multiple by mirroring, runs it
/// without recording a graph, crops. Throws Error for another shape, an empty picture, a strength outside
/// [0, 1], or `by_rows` where the network needs its picture as a whole.
Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options = {});

/// The least that `enhance` holds at once for a picture [1, height, width, 3] of f32, in bytes: the picture,
/// the result, and what the network keeps between them, rows at a time where it runs so.
int64_t enhance_bytes(const Model& model, int64_t height, int64_t width);

/// The first operator of `model` that keeps it from running rows at a time; empty where none does.
std::string obstacle_to_rows(const Model& model);

}  // namespace lux
