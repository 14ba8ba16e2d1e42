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
  /// The most bytes that the network may hold between picture and result; 0: no limit. Bands get narrower to
  /// keep it; means over all pixels take passes of their own, which cost time.
  int64_t memory = 0;
};

/// picture [N, H, W, 3] in [0, 1] -> the same shape. Pads to the network's multiple by mirroring, runs it
/// without recording a graph, crops. Throws Error for another shape, an empty picture, a strength outside
/// [0, 1], or `by_rows` where the network needs its picture as a whole; OutOfMemory, before any work, where
/// more than `options.memory` is needed.
Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options = {});

/// Writes the rows of a picture from row `first` on into `rows` [1, n, width, 3], f32 in [0, 1].
using RowSource = FunctionRef<void(int64_t first, const Tensor& rows)>;
/// Takes such rows.
using RowSink = FunctionRef<void(int64_t first, const Tensor& rows)>;

/// The same, to the bit, for a picture [1, height, width, 3] that nobody holds as one tensor: `source` is
/// asked for its rows, some of them several times, and `sink` gets those of the result from the top down.
/// Where the network runs rows at a time, memory does not grow with the height. Throws Error as `enhance`.
void enhance_rows(const Model& model, int64_t height, int64_t width, RowSource source, RowSink sink,
                  const EnhanceOptions& options = {});

/// What `enhance_rows` holds at once under these options for a picture [1, height, width, 3], in bytes,
/// before it is run: what the network keeps between picture and result, and both of them where it needs its
/// picture as a whole. Throws as `enhance`, but not OutOfMemory.
int64_t enhance_bytes(const Model& model, int64_t height, int64_t width, const EnhanceOptions& options = {});

/// The first operator of `model` that keeps it from running rows at a time; empty where none does.
std::string obstacle_to_rows(const Model& model);

}  // namespace lux
