// How a picture of some size gets through a network: whole, rows at a time, or tile by tile.
#pragma once

#include <algorithm>
#include <optional>

#include "luxgrad/kernels/row_program.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/models/enhance.h"

namespace lux {

/// A picture that goes on mirrored until its sides are multiples of what the network takes.
struct PaddedSize {
  PaddedSize(const Model& model, int64_t height, int64_t width);
  int64_t height, width, tall, wide;
};

/// What is wanted of a network: its enhancement, or the parameters of its curve.
struct Wanted {
  const Model& model;
  double strength = 1;
  const CurveModel* curves = nullptr;  ///< the model itself, where these are wanted

  Tensor operator()(const Tensor& x) const {
    return curves != nullptr ? curves->curves(x) : model.enhance(x, strength);
  }
};

struct Way : EnhancePlan {
  std::optional<RowProgram> program;  ///< none: as a whole
};

/// What a tile of `step` pixels from `begin` on reads along a side of `padded` pixels.
inline Rows read_along(int64_t begin, int64_t step, int64_t halo, int64_t padded) {
  return {std::max<int64_t>(0, begin - halo), std::min(begin + step + halo, padded)};
}

/// What a picture takes as a whole, in bytes.
int64_t whole_bytes(const Wanted& wanted, const PaddedSize& size);

/// Throws as `enhance_plan`. Curves are never cut into tiles.
Way way_of(const Wanted& wanted, const PaddedSize& size, const EnhanceOptions& options);

}  // namespace lux
