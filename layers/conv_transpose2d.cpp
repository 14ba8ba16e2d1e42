#include "luxgrad/layers/conv_transpose2d.h"

namespace lux {

ConvTranspose2d::ConvTranspose2d(Module& parent, std::string name, const ConvTranspose2dSpec& spec)
    : Module(parent, std::move(name)),
      weight(*this, "weight", {spec.out_channels, spec.kernel_size, spec.kernel_size, spec.in_channels}),
      bias(*this, "bias", {spec.out_channels}, spec.bias),
      options_(spec.options) {}

Tensor ConvTranspose2d::operator()(const Tensor& x) const {
  return conv_transpose2d(x, weight, bias, options_);
}

Tensor ConvTranspose2d::operator()(const Tensor& x, const PRelu& behind) const {
  const std::optional<double> slope = behind.as_leaky_relu({x, weight, bias});
  if (!slope || options_.activation != Activation::none) return behind((*this)(x));
  ConvTranspose2dOptions options = options_;
  options.activation = Activation::leaky_relu;
  options.negative_slope = *slope;
  return conv_transpose2d(x, weight, bias, options);
}

}  // namespace lux
