// Rows for losses/: the scalar as a function of the pictures.
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/losses/adversarial.h"
#include "luxgrad/losses/perceptual.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/reference_guided.h"
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
OP_CASE("loss binary_cross_entropy_with_logits", {CaseInput{2, 13, 14, 3}.range(-6, 6), kPicture},
        [](const Tensors& x) { return binary_cross_entropy_with_logits(x[0], x[1]); },
        {.large = {CaseInput{2, 60, 70, 3}.range(-6, 6), CaseInput{2, 60, 70, 3}.range(0, 1)}});
OP_CASE("loss adversarial", {CaseInput{2, 13, 14, 1}.range(-6, 6)},
        [](const Tensors& x) { return adversarial_loss(x[0], true) + adversarial_loss(x[0], false); },
        {.large = {CaseInput{2, 60, 70, 3}.range(-6, 6)}});
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

// With a map for each of eight steps, and with one for all.
std::vector<CaseInput> low_and_curves(int64_t height, int64_t width, int64_t maps) {
  return {CaseInput{2, height, width, 3}.range(0, 0.3).constant(),
          CaseInput{2, height, width, maps}.range(-0.9, -0.5)};
}
Tensor total_of_curves(const Tensors& x) {
  return zero_dce_loss_of_curves(x[0], x[1], 8, zero_dce_loss_options(ZeroDceMode::official, false)).total;
}
OP_CASE("loss zero_dce of curves", low_and_curves(17, 20, 24), total_of_curves,
        {.large = low_and_curves(64, 96, 24), .gradcheck_elements = 300});
OP_CASE("loss zero_dce of one curve", low_and_curves(17, 20, 3), total_of_curves,
        {.large = low_and_curves(64, 96, 3), .gradcheck_elements = 300});

OP_CASE("loss perceptual",
        {kPicture, CaseInput{2, 13, 14, 3}.range(0, 1).constant(), CaseInput{4, 3, 3, 3}.constant()},
        [](const Tensors& x) {
          return perceptual_loss(x[0], x[1], [&](const Tensor& picture) {
            return conv2d(picture, x[2], {}, {.padding = 1, .activation = Activation::tanh});
          });
        },
        {.large = {CaseInput{2, 60, 70, 3}.range(0, 1), CaseInput{2, 60, 70, 3}.range(0, 1).constant(),
                   CaseInput{4, 3, 3, 3}.constant()},
         .bf16_bound = 0.06,
         .f16_bound = 0.01});
OP_CASE("loss cosine_distance", {CaseInput{2, 5, 4, 3}.range(0.1, 1), CaseInput{2, 5, 4, 3}.range(0.1, 1)},
        [](const Tensors& x) { return cosine_distance(x[0], x[1]); },
        {.large = {CaseInput{2, 60, 70, 3}.range(0.1, 1), CaseInput{2, 60, 70, 3}.range(0.1, 1)},
         .f32_bound = 1e-4,
         .half = false});
OP_CASE("loss hsv_distance", {CaseInput{2, 5, 4, 3}.range(0.1, 1), CaseInput{2, 5, 4, 3}.range(0.1, 1)},
        [](const Tensors& x) {
          const HsvDistance of = hsv_distance(x[0], x[1]);
          return of.hue + 2.0 * of.saturation;
        },
        {.large = {CaseInput{2, 60, 70, 3}.range(0.1, 1), CaseInput{2, 60, 70, 3}.range(0.1, 1)},
         .f32_bound = 1e-4,
         .half = false});
OP_CASE("loss triplet_hinge", {CaseInput{40}.range(0, 0.4), CaseInput{40}.range(0.5, 0.9)},
        [](const Tensors& x) { return triplet_hinge(x[0], x[1], 1); },
        {.large = {CaseInput{20000}.range(0, 0.4), CaseInput{20000}.range(0.5, 0.9)}});

// The pictures and features of dark, bright and enhanced; with Huber's distance, for that of L1 has kinks.
std::vector<CaseInput> guided_pass(int64_t side) {
  const CaseInput picture = CaseInput{3, side, side, 3}.range(0.1, 0.9);
  return {picture, picture, picture, {3, 9}, {3, 9}, {3, 9}};
}
OP_CASE("loss reference_guided", guided_pass(5),
        [](const Tensors& x) {
          return reference_guided_loss({x[0], x[1], x[2], x[3], x[4], x[5]},
                                       {.margin = 9, .luminance = 4, .huber = true})
              .total;
        },
        {.large = guided_pass(70), .f32_bound = 1e-4, .half = false});
OP_CASE("loss reference_guided, picture by picture", guided_pass(5),
        [](const Tensors& x) {
          return reference_guided_loss({x[0], x[1], x[2], x[3], x[4], x[5]},
                                       {.margin = 9, .luminance = 4, .instance_norm = true, .huber = true})
              .total;
        },
        {.large = guided_pass(70), .f32_bound = 1e-4, .half = false});

ERROR_CASE("loss perceptual", {{1, 2, 2, 3}, {1, 2, 3, 3}},
           "perceptual_loss: expected two equal shapes, got [1, 2, 2, 3] and [1, 2, 3, 3]",
           [](const Tensors& x) { return perceptual_loss(x[0], x[1], [](const Tensor& y) { return y; }); });
ERROR_CASE("loss cosine_distance", {{2, 3}, {2, 3}},
           "cosine_distance: expected two equal shapes [N, H, W, C], got [2, 3] and [2, 3]",
           [](const Tensors& x) { return cosine_distance(x[0], x[1]); });
ERROR_CASE("loss mse", {{2, 3, 4, 3}, {2, 3, 4, 1}},
           "mse_loss: expected two equal shapes, got [2, 3, 4, 3] and [2, 3, 4, 1]",
           [](const Tensors& x) { return mse_loss(x[0], x[1]); });
ERROR_CASE("loss ssim", {{1, 10, 16, 3}, {1, 10, 16, 3}},
           "ssim: expected two pictures of one shape with sides of at least 11, got [1, 10, 16, 3] and [1, "
           "10, 16, 3]",
           [](const Tensors& x) { return ssim(x[0], x[1]); });

}  // namespace
}  // namespace lux
