#include "luxgrad/models/zero_dce_plus.h"

#include "luxgrad/kernels/resize.h"
#include "luxgrad/layers/init.h"

namespace lux {
namespace {

// Two maps in a list that alone owns them: a braced list in the call would hold copies until the layer has
// run.
Tensors skip(Tensor earlier, Tensor later) { return {std::move(earlier), std::move(later)}; }

}  // namespace

ZeroDcePlus::SeparableConv::SeparableConv(Module& parent, std::string name, int64_t in, int64_t out,
                                          Activation activation)
    : Module(parent, std::move(name)),
      depth_conv(*this, "depth_conv", {in, in, 3, {.padding = 1, .groups = in}}),
      point_conv(*this, "point_conv", {in, out, 1, {.activation = activation}}) {}

Tensor ZeroDcePlus::SeparableConv::operator()(Tensors inputs) const {
  const Tensor filtered = depth_conv(inputs);
  inputs.clear();
  return point_conv(filtered);
}

ZeroDcePlus::ZeroDcePlus(const ZeroDcePlusOptions& options) : options_(options) {
  check(options.scale_factor >= 1 && options.scale_factor <= kLargestScale,
        "zero_dce_plus: expected scale_factor from 1 to ", kLargestScale, ", got ", options.scale_factor);
}

ModelConfig ZeroDcePlus::config() const { return {{"scale_factor", std::to_string(options_.scale_factor)}}; }

// The authors' code keeps PyTorch's default: its call of the N(0, 0.02) initialiser is commented out.
void ZeroDcePlus::init_(const Generator& generator) { init_fan_in_uniform_(*this, generator); }

Tensor ZeroDcePlus::curves(const Tensor& x) const {
  const int64_t scale = options_.scale_factor, height = x.size(1), width = x.size(2);
  check(height % scale == 0 && width % scale == 0,
        "zero_dce_plus: expected height and width in multiples of ", scale, ", got ", x.shape());
  const Tensor small = scale == 1 ? x : resize(x, height / scale, width / scale);  // [N, H/s, W/s, 3]
  Tensor x1 = e_conv1({small});                                                    // [N, H/s, W/s, 32]
  Tensor x2 = e_conv2({x1});
  Tensor x3 = e_conv3({x2});
  Tensor x4 = e_conv4({x3});
  Tensor x5 = e_conv5(skip(std::move(x3), std::move(x4)));
  Tensor x6 = e_conv6(skip(std::move(x2), std::move(x5)));
  Tensor a = e_conv7(skip(std::move(x1), std::move(x6)));  // [N, H/s, W/s, 3]
  return scale == 1 ? a : resize(a, height, width, {.align_corners = true});
}

}  // namespace lux
