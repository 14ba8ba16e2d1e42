// Conv2d: the convolution operator with its weight and bias.
#pragma once

#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/layers/module.h"
#include "luxgrad/layers/prelu.h"

namespace lux {

struct Conv2dSpec {
  int64_t in_channels = 0;  ///< of all inputs together
  int64_t out_channels = 0;
  int64_t kernel_size = 1;
  Conv2dOptions options = {};  ///< stride, padding, groups, activation
  bool bias = true;
};

/// A convolution that keeps the size: odd kernel, stride 1, zeros around.
inline Conv2dSpec same_conv(int64_t in, int64_t out, int64_t kernel, Activation activation = Activation::none,
                            double negative_slope = 0.2) {
  return {
      in, out, kernel, {.padding = kernel / 2, .activation = activation, .negative_slope = negative_slope}};
}

class Conv2d : public Module {
 public:
  /// Throws Error unless sizes are positive and both channel counts are multiples of the groups.
  Conv2d(Module& parent, std::string name, const Conv2dSpec& spec);

  /// x [N, H, W, in] -> [N, H', W', out].
  Tensor operator()(const Tensor& x) const;
  /// The same on several inputs, read as one concatenation along the channels.
  Tensor operator()(const Tensors& inputs) const;
  /// behind(conv(x)), in one pass over memory where `behind` lets it.
  Tensor operator()(const Tensor& x, const PRelu& behind) const;
  /// conv(x) + skip, in one pass over memory; skip has the shape of the result. Throws Error where the layer
  /// has an activation.
  Tensor onto(const Tensor& skip, const Tensor& x) const;

  Parameter weight;  ///< [out, kernel, kernel, in / groups]
  Parameter bias;    ///< [out], or undefined

 private:
  Conv2dOptions options_;
};

}  // namespace lux
