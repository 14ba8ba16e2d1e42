// ConvTranspose2d: the transposed convolution with its weight and bias.
#pragma once

#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/layers/module.h"
#include "luxgrad/layers/prelu.h"

namespace lux {

struct ConvTranspose2dSpec {
  int64_t in_channels = 0, out_channels = 0;
  int64_t kernel_size = 2;
  ConvTranspose2dOptions options = {};  ///< stride, padding
  bool bias = true;
};

class ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(Module& parent, std::string name, const ConvTranspose2dSpec& spec);

  /// x [N, H, W, in] -> [N, H', W', out].
  Tensor operator()(const Tensor& x) const;
  /// behind(conv(x)), in one pass over memory where `behind` lets it.
  Tensor operator()(const Tensor& x, const PRelu& behind) const;

  Parameter weight;  ///< [out, kernel, kernel, in]
  Parameter bias;    ///< [out], or undefined

 private:
  ConvTranspose2dOptions options_;
};

}  // namespace lux
