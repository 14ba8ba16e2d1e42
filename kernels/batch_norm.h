// Batch normalisation (Ioffe and Szegedy, ICML 2015) over all but the channels.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Mean and biased variance of every channel, [C], of the dtype that x is computed in.
struct ChannelStatistics {
  Tensor mean, variance;
};

struct BatchNorm {
  Tensor y;
  ChannelStatistics batch;  ///< outside any graph
};

/// y = weight · (x - mean) / √(variance + eps) + bias with the statistics of x itself, through which the
/// gradient flows. x [N, H, W, C], weight and bias [C]. Sums run in float64, the variance in a second pass.
/// Throws Error for other shapes and for a picture without pixels.
BatchNorm batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

/// The same with given statistics, which are constants.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const ChannelStatistics& given,
                  double eps);

}  // namespace lux
