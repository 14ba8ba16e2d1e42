// The layers of a network as a table: what each makes of a picture, its parameters, its multiplications.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

/// One use of a layer: networks may use one several times.
struct LayerRow {
  std::string name{};      ///< path, as in weight files
  std::string kind{};      ///< operator: conv2d, batch_norm, …; empty: not used in inference
  Shape output{};          ///< of one picture, batch first
  int64_t parameters = 0;  ///< 0 where a row above has counted them
  int64_t macs = 0;        ///< multiply-adds of convolutions and products of matrices
};

/// The layers in the order in which `model.enhance` runs them on a [1, height, width, 3] picture, then those
/// that it has for training only. What has no parameters has no row. Shapes are found on two small pictures
/// and scaled; height and width are rounded up to the network's multiple. Multiply-adds are those that are
/// done: where a pointwise convolution runs before the resizing that it stands behind in the paper, fewer.
std::vector<LayerRow> layer_table(const Model& model, int64_t height, int64_t width);

}  // namespace lux
