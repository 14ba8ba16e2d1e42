// Rows for losses/: the scalar as a function of the pictures.
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/ssim.h"
#include "luxgrad/losses/zero_dce.h"

namespace lux {
namespace {

const CaseInput kPicture = CaseInput{2, 13, 14, 3}.range(0, 1);

OP_CASE("loss l1", {CaseInput{2, 3, 4, 3}.range(0, 0.4), CaseInput{2, 3, 4, 3}.range(0.5, 1)},
        [](const Tensors& x) { return l1(x[0], x[1]); });
OP_CASE("loss mse", {kPicture, kPicture}, [](const Tensors& x) { return mse(x[0], x[1]); });
OP_CASE("loss charbonnier", {kPicture, kPicture}, [](const Tensors& x) { return charbonnier(x[0], x[1]); },
        {.bf16_bound = 0.03, .f16_bound = 5e-3});
OP_CASE("loss ssim", {kPicture, kPicture}, [](const Tensors& x) { return ssim(x[0], x[1]); },
        {.bf16_bound = 0.3, .f16_bound = 0.05, .gradcheck_elements = 300});

const std::vector<CaseInput> kCurvePictures = {CaseInput{2, 17, 20, 3}.range(0, 0.3),
                                               CaseInput{2, 17, 20, 3}.range(0.4, 1),
                                               CaseInput{2, 17, 20, 6}.range(-0.02, 0.02)};
const CaseOptions kSampled{.gradcheck_elements = 300};  // each term has rows of its own

Tensor total(const Tensors& x, ZeroDceMode mode) {
  return zero_dce_loss(x[0], x[1], x[2], zero_dce_loss_options(mode, false)).total;
}
OP_CASE(
    "loss zero_dce, official", kCurvePictures,
    [](const Tensors& x) { return total(x, ZeroDceMode::official); }, kSampled);
OP_CASE(
    "loss zero_dce, keras", kCurvePictures, [](const Tensors& x) { return total(x, ZeroDceMode::keras); },
    kSampled);
// The paper's smoothness has a kink where neighbours are equal, so they must not be close.
OP_CASE(
    "loss zero_dce, paper", {kCurvePictures[0], kCurvePictures[1], CaseInput{2, 17, 20, 6}.range(-0.2, 0.2)},
    [](const Tensors& x) { return total(x, ZeroDceMode::paper); }, kSampled);

ERROR_CASE("loss mse", {{2, 3, 4, 3}, {2, 3, 4, 1}},
           "mse: expected two equal shapes, got [2, 3, 4, 3] and [2, 3, 4, 1]",
           [](const Tensors& x) { return mse(x[0], x[1]); });
ERROR_CASE("loss ssim", {{1, 10, 16, 3}, {1, 10, 16, 3}},
           "ssim: expected two pictures of one shape with sides of at least 11, got [1, 10, 16, 3] and [1, "
           "10, 16, 3]",
           [](const Tensors& x) { return ssim(x[0], x[1]); });

}  // namespace
}  // namespace lux
