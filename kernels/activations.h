// Activations and other elementwise functions of one tensor.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// max(x, 0). Slope 0 at 0.
Tensor relu(const Tensor& x);
/// x where positive, negative_slope·x elsewhere. Throws Error where the factor is below 0.
Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
/// 1 / (1 + e^-x)
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);
/// |x|. Slope 0 at 0.
Tensor abs(const Tensor& x);
Tensor square(const Tensor& x);
/// Square root; NaN below 0. The slope at 0 is defined as 0.
Tensor sqrt(const Tensor& x);
/// e^x. Results beyond the range of a float saturate near its ends, except in f64.
Tensor exp(const Tensor& x);
/// x where positive, e^x - 1 elsewhere (Clevert et al., ICLR 2016).
Tensor elu(const Tensor& x);
/// Natural logarithm; NaN below 0, -∞ at 0, where the slope is defined as 0.
Tensor log(const Tensor& x);
/// ln(1 + e^x); finite wherever x is.
Tensor softplus(const Tensor& x);
/// x² / 2 where |x| <= delta, delta·(|x| - delta / 2) elsewhere (Huber, 1964). Throws Error unless delta > 0.
Tensor huber(const Tensor& x, double delta = 1);
/// min(max(x, low), high). Slope 1 from low to high, both included. Throws Error when low > high.
Tensor clamp(const Tensor& x, double low, double high);

}  // namespace lux
