// What Zero-DCE and Zero-DCE++ have in common: a network predicts the parameters of a curve, and the curve,
// applied eight times, is the enhancement. No reference is needed: losses look at the result and the curves.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

/// What a curve model makes of a picture x [N, H, W, 3].
struct CurveEnhancement {
  Tensor enhanced;  ///< LE_8, like x
  Tensor curves;    ///< A: [N, H, W, 24], or [N, H, W, 3] where all iterations share one map; in [-1, 1]
};

class CurveModel : public Model {
 public:
  static constexpr int kIterations = 8;

  /// The curve parameters A for x [N, H, W, 3] in [0, 1].
  virtual Tensor curves(const Tensor& x) const = 0;

  /// How many maps of three parameters there are: one for each iteration, or one for all.
  virtual int maps() const { return kIterations; }

  /// The enhanced picture and its curve parameters: what the losses look at.
  CurveEnhancement forward(const Tensor& x) const;

  /// Scales the curve parameters, so that the mapping of brightness stays monotone for every strength.
  Tensor enhance(const Tensor& x, double strength) const override;
};

}  // namespace lux
