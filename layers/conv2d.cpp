#include "luxgrad/layers/conv2d.h"

namespace lux {
namespace {

Shape weight_shape(const Conv2dSpec& spec) {
  const int64_t in = spec.in_channels, out = spec.out_channels, groups = spec.options.groups;
  check(in > 0 && out > 0 && spec.kernel_size > 0, "Conv2d: expected positive sizes, got ", in, " -> ", out,
        " channels, kernel_size ", spec.kernel_size);
  check(groups > 0 && in % groups == 0 && out % groups == 0,
        "Conv2d: expected channel counts that are multiples of groups ", groups, ", got ", in, " -> ", out);
  return {out, spec.kernel_size, spec.kernel_size, in / groups};
}

}  // namespace

Conv2d::Conv2d(Module& parent, std::string name, const Conv2dSpec& spec)
    : Module(parent, std::move(name)),
      weight(*this, "weight", weight_shape(spec)),
      bias(*this, "bias", {spec.out_channels}, spec.bias),
      options_(spec.options) {}

Tensor Conv2d::operator()(const Tensor& x) const { return conv2d(x, weight, bias, options_); }

Tensor Conv2d::operator()(const Tensors& inputs) const { return conv2d(inputs, weight, bias, options_); }

Tensor Conv2d::onto(const Tensor& skip, const Tensor& x) const {
  return conv2d(x, weight, bias, options_, skip);
}

Tensor Conv2d::operator()(const Tensor& x, const PRelu& behind) const {
  const std::optional<double> slope = behind.as_leaky_relu({x, weight, bias});
  if (!slope || options_.activation != Activation::none) return behind((*this)(x));
  Conv2dOptions options = options_;
  options.activation = Activation::leaky_relu;
  options.negative_slope = *slope;
  return conv2d(x, weight, bias, options);
}

}  // namespace lux
