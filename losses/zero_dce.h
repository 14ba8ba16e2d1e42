// The four zero-reference losses of Zero-DCE (Guo et al., CVPR 2020, arXiv:2001.06826, section 3.3): they
// judge an enhanced picture without knowing the right one. Code and paper differ, and so does the keras.io
// example; a mode says which is meant.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// official: the authors' code. keras: the keras.io example, whose spatial term looks left and right only and
/// punishes brightening itself, and whose smoothness divides by the sizes of the wrong axes. paper: the
/// equations as printed.
enum class ZeroDceMode { official, keras, paper };

struct ZeroDceLossOptions {
  ZeroDceMode mode = ZeroDceMode::official;
  double tv = 200, spa = 1, col = 5, exp = 10;  ///< weights in the total
  int64_t exp_patch = 16;                       ///< side of a local region of the exposure loss, in pixels
  double exp_target = 0.6;                      ///< well-exposedness level E
};

/// The published weights. Where all iterations share one curve map (Zero-DCE++) smoothness counts eight times
/// as much, for there are eight times fewer maps.
ZeroDceLossOptions zero_dce_loss_options(ZeroDceMode mode, bool shared_curves);

/// Scalars of shape []. The terms are unweighted; total is their weighted sum.
struct ZeroDceLoss {
  Tensor total, tv, spa, col, exp;
};

/// low, enhanced [N, H, W, 3] in [0, 1], sides of at least max(4, exp_patch); curves [N, H, W, 3·n]. Finite,
/// with finite gradients, for pictures of one colour too: where a root is 0 its slope counts as 0. Throws
/// Error for other shapes.
ZeroDceLoss zero_dce_loss(const Tensor& low, const Tensor& enhanced, const Tensor& curves,
                          const ZeroDceLossOptions& options = {});

/// The same of the enhanced picture curve_iterations(low, curves, iterations). A device may make both at
/// once, and never stores that picture; elsewhere it is made in the dtype of the curves and judged in that of
/// `low`.
ZeroDceLoss zero_dce_loss_of_curves(const Tensor& low, const Tensor& curves, int iterations,
                                    const ZeroDceLossOptions& options = {});

}  // namespace lux
