// Rows for models/: the enhanced picture as a function of the picture and of every parameter.
#include <cmath>

#include "luxgrad/autograd/op_case.h"
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
