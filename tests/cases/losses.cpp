// Rows for losses/: the scalar as a function of the pictures.
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/ssim.h"
#include "luxgrad/losses/zero_dce.h"

namespace lux {
namespace {

const CaseInput kPicture = CaseInput{2, 13, 14, 3}.range(0, 1);
const CaseOptions kLarge{.large = {CaseInput{2, 60, 70, 3}.range(0, 1), CaseInput{2, 60, 70, 3}.range(0, 1)}};

OP_CASE("loss l1", {CaseInput{2, 3, 4, 3}.range(0, 0.4), CaseInput{2, 3, 4, 3}.range(0.5, 1)},
        [](const Tensors& x) { return l1_loss(x[0], x[1]); },
        {.large = {CaseInput{2, 60, 70, 3}.range(0, 0.4), CaseInput{2, 60, 70, 3}.range(0.5, 1)}});
OP_CASE(
    "loss mse", {kPicture, kPicture}, [](const Tensors& x) { return mse_loss(x[0], x[1]); }, kLarge);
OP_CASE(
    "loss huber", {kPicture, kPicture}, [](const Tensors& x) { return huber_loss(x[0], x[1], 5); }, kLarge);
OP_CASE("loss binary_cross_entropy", {CaseInput{2, 13, 14, 3}.range(0.05, 0.95), kPicture},
        [](const Tensors& x) { return binary_cross_entropy(x[0], x[1]); },
        {.large = {CaseInput{2, 60, 70, 3}.range(0.05, 0.95), CaseInput{2, 60, 70, 3}.range(0, 1)}});
OP_CASE("loss charbonnier", {kPicture, kPicture}, [](const Tensors& x) { return charbonnier(x[0], x[1]); },
        {.large = kLarge.large, .bf16_bound = 0.03, .f16_bound = 5e-3});
// Variances are differences of means that are nearly equal, of which half precision keeps hardly a digit.
OP_CASE("loss ssim", {kPicture, kPicture}, [](const Tensors& x) { return ssim(x[0], x[1]); },
        {.large = kLarge.large, .gradcheck_elements = 300, .half = false});

std::vector<CaseInput> curve_pictures(int64_t height, int64_t width, double variation) {
  return {CaseInput{2, height, width, 3}.range(0, 0.3), CaseInput{2, height, width, 3}.range(0.4, 1),
          CaseInput{2, height, width, 6}.range(-variation, variation)};
}
// Each term has rows of its own.
CaseOptions sampled(double variation) {
  return {.large = curve_pictures(64, 96, variation), .gradcheck_elements = 300};
}

Tensor total(const Tensors& x, ZeroDceMode mode) {
  return zero_dce_loss(x[0], x[1], x[2], zero_dce_loss_options(mode, false)).total;
}
OP_CASE(
    "loss zero_dce, official", curve_pictures(17, 20, 0.02),
    [](const Tensors& x) { return total(x, ZeroDceMode::official); }, sampled(0.02));
OP_CASE(
    "loss zero_dce, keras", curve_pictures(17, 20, 0.02),
    [](const Tensors& x) { return total(x, ZeroDceMode::keras); }, sampled(0.02));
// The paper's smoothness has a kink where neighbours are equal, so they must not be close.
OP_CASE(
    "loss zero_dce, paper", curve_pictures(17, 20, 0.2),
    [](const Tensors& x) { return total(x, ZeroDceMode::paper); }, sampled(0.2));

ERROR_CASE("loss mse", {{2, 3, 4, 3}, {2, 3, 4, 1}},
           "mse_loss: expected two equal shapes, got [2, 3, 4, 3] and [2, 3, 4, 1]",
           [](const Tensors& x) { return mse_loss(x[0], x[1]); });
ERROR_CASE("loss ssim", {{1, 10, 16, 3}, {1, 10, 16, 3}},
           "ssim: expected two pictures of one shape with sides of at least 11, got [1, 10, 16, 3] and [1, "
           "10, 16, 3]",
           [](const Tensors& x) { return ssim(x[0], x[1]); });

}  // namespace
}  // namespace lux
