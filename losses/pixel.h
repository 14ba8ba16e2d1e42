// Distances between a picture and its reference, pixel by pixel, averaged over all elements.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// mean |x − y|. Slope 0 where x = y.
Tensor l1_loss(const Tensor& x, const Tensor& y);

/// mean (x − y)².
Tensor mse_loss(const Tensor& x, const Tensor& y);

/// mean of huber(x − y, delta).
Tensor huber_loss(const Tensor& x, const Tensor& y, double delta = 1);

/// −mean(y·ln p + (1 − y)·ln(1 − p)) of probabilities p and targets y; p is kept within [10⁻⁷, 1 − 10⁻⁷], as
/// in Keras.
Tensor binary_cross_entropy(const Tensor& p, const Tensor& y);

/// The same of logits x, with p = σ(x): mean(ln(1 + e^x) − x·y). No bounds are needed: a logit of any size
/// gives a finite loss, and a slope that does not vanish where it is wrong.
Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& y);

/// mean √((x − y)² + epsilon²) (Charbonnier et al., ICIP 1994; MIRNet's training loss with epsilon 10⁻³).
Tensor charbonnier(const Tensor& x, const Tensor& y, double epsilon = 1e-3);

}  // namespace lux
