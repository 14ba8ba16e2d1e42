// Rows for models/: the enhanced picture as a function of the picture and of every parameter.
#include <cmath>

#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/mirnet_keras.h"
#include "luxgrad/models/mirnet_v1.h"
#include "luxgrad/models/mirnet_v2.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/unet.h"
#include "luxgrad/models/vgg16.h"
#include "luxgrad/models/zero_dce.h"
#include "luxgrad/models/zero_dce_plus.h"

namespace lux {
namespace {

// The picture, then the parameters. Weights are positive, so that no unit stands near the kink of its
// activation and half precision can be compared; those of the last layer have both signs and are small, for a
// strong curve drives every pixel to black or white and its gradient to zero.
std::vector<CaseInput> inputs_of(const CurveModel& model) {
  std::vector<CaseInput> inputs = {CaseInput{1, 8, 12, 3}.range(0.1, 0.9)};
  const std::vector<NamedTensor> parameters = model.named_parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    CaseInput input;
    input.shape = parameters[i].tensor.shape();
    const double terms = static_cast<double>(input.shape.numel() / input.shape[0]);
    if (i + 2 == parameters.size())
      inputs.push_back(input.range(-0.25 / std::sqrt(terms), 0.25 / std::sqrt(terms)));
    else
      inputs.push_back(input.shape.rank() == 1 ? input.range(0, 0.1) : input.range(0.5 / terms, 1.5 / terms));
  }
  return inputs;
}

Tensor enhanced(CurveModel& model, const Tensors& x) {
  model.substitute({x.begin() + 1, x.end()});
  return model.forward(x[0]).enhanced;
}

// The half types' bounds are at most three times what was measured: the error grows with every layer, and
// zero_dce_plus has twice as many.
const CaseOptions kDeep{.f32_bound = 2e-5, .bf16_bound = 0.08, .f16_bound = 0.008, .gradcheck_elements = 8};
const CaseOptions kDeeper{.f32_bound = 2e-5, .bf16_bound = 0.1, .f16_bound = 0.02, .gradcheck_elements = 8};

OP_CASE(
    "model zero_dce", inputs_of(ZeroDce()),
    [](const Tensors& x) {
      ZeroDce model;
      return enhanced(model, x);
    },
    kDeep);
OP_CASE(
    "model zero_dce, keras order", inputs_of(ZeroDce()),
    [](const Tensors& x) {
      ZeroDce model({.concat = ConcatOrder::keras});
      return enhanced(model, x);
    },
    kDeep);
OP_CASE(
    "model zero_dce_plus", inputs_of(ZeroDcePlus()),
    [](const Tensors& x) {
      ZeroDcePlus model;
      return enhanced(model, x);
    },
    kDeeper);
OP_CASE(
    "model zero_dce_plus, scale factor 2", inputs_of(ZeroDcePlus()),
    [](const Tensors& x) {
      ZeroDcePlus model({.scale_factor = 2});
      return enhanced(model, x);
    },
    kDeeper);

// The larger networks, narrow. Weights are positive and averages, so that rectifiers stay away from their
// kink. A batch norm shifts so far that hardly anything behind it is negative.
CaseInput parameter_of(const std::string& name, const Shape& shape, double gain) {
  CaseInput input;
  input.shape = shape;
  const double terms = static_cast<double>(shape.numel() / shape[0]);
  if (name.ends_with("conv_mask.weight")) return input.range(-3, 3);  // its softmax would be even otherwise
  if (shape.rank() > 1) return input.range(0.5 * gain / terms, 1.5 * gain / terms);
  if (name.find("bn") != std::string::npos)
    return name.ends_with("weight") ? input.range(0.4, 0.6) : input.range(2, 3);
  return shape[0] == 1 ? input.range(0.2, 0.3) : input.range(0, 0.1);
}

// What a convolution adds to all pixels, a batch norm takes away again.
bool is_lost(const std::string& name) {
  for (const char* bias : {"enc1.conv.bias", "enc2.conv.bias", "enc3.conv.bias", "conv_a.bias", "conv_b.bias",
                           "out.conv.bias", "conv2.bias", "conv3.bias", "conv4.bias", "conv5.bias"}) {
    if (name.ends_with(bias)) return true;
  }
  return false;
}

// The pictures, then the parameters.
std::vector<CaseInput> inputs_of(const Module& network, const std::vector<Shape>& pictures, double gain = 1) {
  std::vector<CaseInput> inputs;
  for (const Shape& shape : pictures) {
    CaseInput input;
    input.shape = shape;
    inputs.push_back(input.range(0.1, 0.9));
  }
  for (const auto& [name, tensor] : network.named_parameters()) {
    const CaseInput parameter = parameter_of(name, tensor.shape(), gain);
    inputs.push_back(is_lost(name) ? parameter.constant() : parameter);
  }
  return inputs;
}

// A long step: rounding grows with the depth, and what is far from kinks hardly bends.
CaseOptions deep(int64_t elements) {
  return {.gradcheck_elements = elements, .gradcheck_step = 1e-5, .only_gradients = true};
}

Tensor restored(Restorer& model, const Tensors& x) {
  model.substitute({x.begin() + 1, x.end()});
  return model.forward(x[0]);
}

// The first map of every convolution before a PReLU is negative, so that its slope meets something.
Tensor with_a_negative_map(const std::string& name, const Tensor& weight) {
  const bool rectified = name.find(".CA.") != std::string::npos;
  if (rectified || weight.shape().rank() != 4 || weight.size(0) == 1) return weight;
  return concat({-narrow(weight, 0, 0, 1), narrow(weight, 0, 1, weight.size(0) - 1)}, 0);
}

// Of the weights of a sum of many branches, which would grow from block to block.
constexpr double kTame = 0.6;

OP_CASE(
    "model unet", inputs_of(Unet(4), {{1, 8, 12, 3}}),
    [](const Tensors& x) {
      Unet model(4);
      return restored(model, x);
    },
    deep(2));
OP_CASE(
    "model reference_guided",
    inputs_of(ReferenceGuided({.deconv_bias = true, .width = 2}), {{1, 17, 18, 3}, {1, 18, 17, 3}}),
    [](const Tensors& x) {
      ReferenceGuided model({.deconv_bias = true, .width = 2});
      model.substitute({x.begin() + 2, x.end()});
      return model.decode(model.encode(x[0]), model.encode(x[1]).luminance());
    },
    deep(2));
OP_CASE(
    "model mirnet_keras", inputs_of(MirnetKeras(MirnetKeras::Compat::y2023, 8, 1), {{1, 8, 8, 3}}, kTame),
    [](const Tensors& x) {
      MirnetKeras model(MirnetKeras::Compat::y2023, 8, 1);
      return restored(model, x);
    },
    deep(1));
OP_CASE(
    "model mirnet_v1", inputs_of(MirnetV1(16, 1), {{1, 8, 8, 3}}, kTame),
    [](const Tensors& x) {
      MirnetV1 model(16, 1);
      Tensors inputs = x;
      const std::vector<NamedTensor> parameters = model.named_parameters();
      for (size_t i = 0; i < parameters.size(); ++i)
        inputs[i + 1] = with_a_negative_map(parameters[i].name, x[i + 1]);
      return restored(model, inputs);
    },
    deep(2));
OP_CASE(
    "model mirnet_v2", inputs_of(MirnetV2(16, 2), {{1, 8, 8, 3}}, kTame),
    [](const Tensors& x) {
      MirnetV2 model(16, 2);
      return restored(model, x);
    },
    deep(1));
OP_CASE(
    "model gan, generator", inputs_of(Gan(4).generator, {{2, 8, 12, 3}}),
    [](const Tensors& x) {
      Gan model(4);
      model.generator.substitute({x.begin() + 1, x.end()});
      return model.generator(x[0], {.dropout = 0.5, .dropout_key = 3});
    },
    deep(2));
OP_CASE(
    "model gan, discriminator", inputs_of(Gan(4).discriminator, {{2, 32, 48, 3}, {2, 32, 48, 3}}),
    [](const Tensors& x) {
      Gan model(4);
      model.discriminator.substitute({x.begin() + 2, x.end()});
      return model.discriminator(x[0], x[1], {});
    },
    deep(2));

// Its weights are fixed: only the picture wants a gradient.
std::vector<CaseInput> inputs_of_trunk() {
  std::vector<CaseInput> inputs = {CaseInput{1, 5, 8, 3}.range(0.5, 1)};
  for (const auto& [name, tensor] : Vgg16().named_parameters()) {
    CaseInput input;
    input.shape = tensor.shape();
    const double terms = static_cast<double>(input.shape.numel() / input.shape[0]);
    inputs.push_back(
        (input.shape.rank() == 1 ? input.range(0, 0.1) : input.range(0.5 / terms, 1.5 / terms)).constant());
  }
  return inputs;
}
OP_CASE("model vgg16", inputs_of_trunk(),
        [](const Tensors& x) {
          Vgg16 trunk;
          trunk.substitute({x.begin() + 1, x.end()});
          return trunk(x[0]);
        },
        {.f32_bound = 2e-5, .bf16_bound = 0.1, .f16_bound = 0.02, .gradcheck_elements = 40});

ERROR_CASE("model zero_dce_plus", {{1, 8, 11, 3}},
           "zero_dce_plus: expected height and width in multiples of 2, got [1, 8, 11, 3]",
           [](const Tensors& x) { return ZeroDcePlus({.scale_factor = 2}).forward(x[0]).enhanced; });

}  // namespace
}  // namespace lux
