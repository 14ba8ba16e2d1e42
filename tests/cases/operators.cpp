// Rows for the operators of kernels/, except convolution.
#include <cmath>

#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/cast.h"
#include "luxgrad/kernels/color_constancy.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/conv2d_repeated.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/expand.h"
#include "luxgrad/kernels/exposure.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/spatial_consistency.h"
#include "luxgrad/kernels/total_variation.h"

namespace lux {
namespace {

using In = CaseInput;
const CaseOptions kLargeUnary{.large = {{2, 48, 64, 16}}};

// Elementwise.
OP_CASE(
    "relu", {In{2, 3, 4, 5}.away_from({0})}, [](const Tensors& x) { return relu(x[0]); }, kLargeUnary);
OP_CASE(
    "leaky_relu", {In{2, 3, 4, 5}.away_from({0})}, [](const Tensors& x) { return leaky_relu(x[0], 0.2); },
    kLargeUnary);
OP_CASE(
    "leaky_relu, slope 0", {In{3, 7}.away_from({0})}, [](const Tensors& x) { return leaky_relu(x[0], 0); },
    kLargeUnary);
OP_CASE(
    "sigmoid", {In{2, 3, 4, 5}.range(-6, 6)}, [](const Tensors& x) { return sigmoid(x[0]); }, kLargeUnary);
OP_CASE(
    "softplus", {In{2, 3, 4, 5}.range(-6, 6)}, [](const Tensors& x) { return softplus(x[0]); }, kLargeUnary);
OP_CASE(
    "tanh", {In{2, 3, 4, 5}.range(-3, 3)}, [](const Tensors& x) { return tanh(x[0]); }, kLargeUnary);
OP_CASE(
    "abs", {In{2, 3, 4, 5}.away_from({0})}, [](const Tensors& x) { return abs(x[0]); }, kLargeUnary);
OP_CASE(
    "square", {{2, 3, 4, 5}}, [](const Tensors& x) { return square(x[0]); }, kLargeUnary);
OP_CASE("sqrt", {In{2, 3, 4, 5}.range(0.1, 2)}, [](const Tensors& x) { return sqrt(x[0]); },
        {.large = {In{2, 48, 64, 16}.range(0.1, 2)}});
OP_CASE(
    "exp", {In{2, 3, 4, 5}.range(-3, 3)}, [](const Tensors& x) { return exp(x[0]); }, kLargeUnary);
OP_CASE(
    "clamp", {In{2, 3, 4, 5}.range(-1, 2).away_from({0, 1})},
    [](const Tensors& x) { return clamp(x[0], 0, 1); }, kLargeUnary);

ERROR_CASE("relu", {}, "tensor: expected a tensor, got an undefined one",
           [](const Tensors&) { return relu(Tensor()); });
ERROR_CASE("leaky_relu", {{3}}, "leaky_relu: expected a negative_slope of at least 0, got -1",
           [](const Tensors& x) { return leaky_relu(x[0], -1); });
ERROR_CASE("clamp", {{3}}, "clamp: expected low <= high, got 1 and 0",
           [](const Tensors& x) { return clamp(x[0], 1, 0); });

// Arithmetic: equal shapes, repetition along outer, inner and mixed dimensions, scalars, numbers.
const CaseOptions kLargePair{.large = {{2, 48, 64, 16}, {2, 48, 64, 16}}};
OP_CASE(
    "add", {{2, 3, 4}, {2, 3, 4}}, [](const Tensors& x) { return x[0] + x[1]; }, kLargePair);
OP_CASE("add, per channel", {{2, 3, 4, 9}, {9}}, [](const Tensors& x) { return x[0] + x[1]; },
        {.large = {{2, 48, 64, 16}, {16}}});
OP_CASE(
    "add, number", {{3, 4}}, [](const Tensors& x) { return 2.5 + x[0]; }, kLargeUnary);
OP_CASE(
    "sub", {{2, 3, 4}, {2, 3, 4}}, [](const Tensors& x) { return x[0] - x[1]; }, kLargePair);
OP_CASE("sub, scalar", {{}, {2, 3, 9}}, [](const Tensors& x) { return x[0] - x[1]; },
        {.large = {{}, {2, 48, 64, 16}}});
OP_CASE(
    "sub, from number", {{3, 4}}, [](const Tensors& x) { return 1 - x[0]; }, kLargeUnary);
OP_CASE(
    "sub, number", {{3, 4}}, [](const Tensors& x) { return x[0] - 0.25; }, kLargeUnary);
OP_CASE(
    "sub, negated", {{3, 4}}, [](const Tensors& x) { return -x[0]; }, kLargeUnary);
OP_CASE(
    "mul", {{2, 3, 4}, {2, 3, 4}}, [](const Tensors& x) { return x[0] * x[1]; }, kLargePair);
OP_CASE("mul, per channel of a picture", {{2, 3, 4, 5}, {2, 1, 1, 5}},
        [](const Tensors& x) { return x[0] * x[1]; }, {.large = {{2, 48, 64, 16}, {2, 1, 1, 16}}});
OP_CASE("mul, per pixel", {{2, 3, 4, 1}, {2, 3, 4, 9}}, [](const Tensors& x) { return x[0] * x[1]; },
        {.large = {{2, 48, 64, 1}, {2, 48, 64, 16}}});
OP_CASE("mul, outer product", {{2, 1, 4, 1}, {3, 1, 9}}, [](const Tensors& x) { return x[0] * x[1]; },
        {.large = {{20, 1, 30, 1}, {10, 1, 20}}});
OP_CASE(
    "mul, with itself", {{3, 4}}, [](const Tensors& x) { return x[0] * x[0]; }, kLargeUnary);
OP_CASE(
    "mul, number", {{3, 4}}, [](const Tensors& x) { return x[0] * -3.0; }, kLargeUnary);
OP_CASE("div", {{2, 3, 4}, In{2, 3, 4}.range(0.5, 2)}, [](const Tensors& x) { return x[0] / x[1]; },
        {.large = {{2, 48, 64, 16}, In{2, 48, 64, 16}.range(0.5, 2)}, .bf16_bound = 0.03, .f16_bound = 5e-3});
OP_CASE("div, per row", {{3, 10}, In{3, 1}.range(0.5, 2)}, [](const Tensors& x) { return x[0] / x[1]; },
        {.large = {{300, 40}, In{300, 1}.range(0.5, 2)}, .bf16_bound = 0.03, .f16_bound = 5e-3});
OP_CASE(
    "div, by number", {{3, 4}}, [](const Tensors& x) { return x[0] / 7; }, kLargeUnary);
OP_CASE("div, of number", {In{3, 4}.range(0.5, 2)}, [](const Tensors& x) { return 2.0 / x[0]; },
        {.large = {In{300, 40}.range(0.5, 2)}});

ERROR_CASE("add", {{2, 3}, {2}}, "add: expected shapes that broadcast, got [2, 3] and [2]",
           [](const Tensors& x) { return x[0] + x[1]; });
ERROR_CASE("mul", {{2}, {2}}, "mul: expected equal dtypes, got f32 and f64",
           [](const Tensors& x) { return x[0] * x[1].to(DType::f64); });

// Reductions: everything; inner, outer, middle and mixed dimensions.
OP_CASE(
    "sum", {{3, 4, 5}}, [](const Tensors& x) { return sum(x[0]); }, kLargeUnary);
OP_CASE(
    "sum, inner", {{3, 4, 5}}, [](const Tensors& x) { return sum(x[0], {-1}); }, kLargeUnary);
OP_CASE(
    "sum, outer, kept", {{3, 4, 5}},
    [](const Tensors& x) {
      return sum(x[0], {0, 1}, true);
    },
    kLargeUnary);
OP_CASE(
    "sum, around", {{3, 4, 5}},
    [](const Tensors& x) {
      return sum(x[0], {0, 2});
    },
    kLargeUnary);
OP_CASE(
    "mean", {{3, 4, 5}}, [](const Tensors& x) { return mean(x[0]); }, kLargeUnary);
OP_CASE(
    "mean, of pictures", {{2, 3, 4, 5}},
    [](const Tensors& x) {
      return mean(x[0], {1, 2}, true);
    },
    kLargeUnary);
OP_CASE(
    "mean, alternating", {{2, 3, 4, 5}},
    [](const Tensors& x) {
      return mean(x[0], {1, 3});
    },
    kLargeUnary);
OP_CASE("sum_to", {{2, 3, 4, 5}},
        [](const Tensors& x) {
          return sum_to(x[0], {3, 1, 5});
        },
        {.large = {{40, 3, 128, 5}}});

ERROR_CASE("sum", {{2, 3}}, "sum: expected different dimensions of [2, 3], got 2",
           [](const Tensors& x) { return sum(x[0], {2}); });
ERROR_CASE("sum", {{2, 3}}, "sum: expected different dimensions of [2, 3], got -1", [](const Tensors& x) {
  return sum(x[0], {1, -1});
});
ERROR_CASE("mean", {{0, 3}}, "mean: expected at least one element to average, got [0, 3]",
           [](const Tensors& x) { return mean(x[0]); });
ERROR_CASE("mean", {{0, 3}}, "mean: expected at least one element to average, got [0, 3]",
           [](const Tensors& x) { return mean(x[0], {0}); });
ERROR_CASE("sum_to", {{2, 3}}, "sum_to: expected a shape that broadcasts to [2, 3], got [5, 2, 3]",
           [](const Tensors& x) {
             return sum_to(x[0], {5, 2, 3});
           });

// Shapes.
OP_CASE("reshape", {{2, 3, 4}}, [](const Tensors& x) { return reshape(x[0], {4, 6}); }, {.divided = false});
OP_CASE("cast", {{2, 3, 4}},
        [](const Tensors& x) {
          const DType own = x[0].dtype();
          return cast(cast(x[0], own == DType::f32 ? DType::f64 : DType::f32), own);
        },
        {.gradcheck_step = 0.1, .divided = false});  // rounded to f32 on the way
OP_CASE("concat", {{2, 3, 4, 2}, {2, 3, 4, 1}, {2, 3, 4, 3}}, [](const Tensors& x) { return concat(x, -1); },
        {.large = {{2, 48, 64, 16}, {2, 48, 64, 1}, {2, 48, 64, 8}}});
OP_CASE("concat, rows", {{2, 3, 4}, {2, 1, 4}}, [](const Tensors& x) { return concat(x, 1); },
        {.large = {{2, 30, 400}, {2, 10, 400}}});
OP_CASE("narrow", {{2, 3, 4, 5}}, [](const Tensors& x) { return narrow(x[0], 3, 1, 3); },
        {.large = {{2, 48, 64, 16}}});
OP_CASE("narrow, of split", {{2, 3, 5}},
        [](const Tensors& x) {
          const Tensors pieces = split(x[0], {2, 1, 2}, 2);
          return pieces[0] * pieces[1] - pieces[2];
        },
        {.large = {{100, 100, 5}}, .bf16_bound = 0.03, .f16_bound = 5e-3});

ERROR_CASE("cast", {{2, 3}}, "cast: expected floating dtypes, got u8",
           [](const Tensors& x) { return cast(x[0], DType::u8); });
ERROR_CASE("reshape", {{2, 3}}, "reshape: expected 6 elements as in [2, 3], got [4]",
           [](const Tensors& x) { return reshape(x[0], {4}); });
ERROR_CASE("concat", {}, "concat: expected at least one tensor",
           [](const Tensors& x) { return concat(x, 0); });
ERROR_CASE("concat", {{2, 3}, {3, 3}},
           "concat: expected tensors like f32 [2, 3] except in dimension 1, got f32 [3, 3]",
           [](const Tensors& x) { return concat(x, 1); });
ERROR_CASE("concat", {{2, 3}}, "concat: expected a dimension of [2, 3], got 2",
           [](const Tensors& x) { return concat(x, 2); });
ERROR_CASE("narrow", {{2, 3}}, "narrow: expected elements of 0 … 2 in dimension 1 of [2, 3], got 2 … 3",
           [](const Tensors& x) { return narrow(x[0], 1, 2, 2); });
ERROR_CASE("split", {{2, 3}}, "split: expected sizes that add up to 3, got 2", [](const Tensors& x) {
  return split(x[0], {1, 1}, 1)[0];
});

// Pooling and resizing.
const CaseOptions kLargePool{.large = {{2, 49, 62, 16}}};
OP_CASE(
    "avg_pool2d", {{2, 9, 7, 3}}, [](const Tensors& x) { return avg_pool2d(x[0], {.kernel_size = 2}); },
    kLargePool);
OP_CASE(
    "avg_pool2d, overlapping, padded", {{1, 6, 8, 2}},
    [](const Tensors& x) {
      return avg_pool2d(x[0], {.kernel_size = 3, .stride = 2, .padding = {1, 2, 0, 1}});
    },
    kLargePool);
OP_CASE(
    "avg_pool2d, ceil, without padding in the mean", {{1, 7, 6, 2}},
    [](const Tensors& x) {
      return avg_pool2d(
          x[0], {.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false});
    },
    kLargePool);
OP_CASE("sum_taps", {{2, 3, 4, 18}}, [](const Tensors& x) { return sum_taps(x[0], 3); },
        {.large = {{2, 40, 33, 27}}});
OP_CASE("sum_taps, doubled once, 5x5", {{1, 2, 3, 25}}, [](const Tensors& x) { return sum_taps(x[0], 5, 1); },
        {.large = {{1, 40, 33, 25}}});
OP_CASE("sum_taps, doubled twice", {{1, 2, 3, 9}}, [](const Tensors& x) { return sum_taps(x[0], 3, 2); },
        {.large = {{1, 24, 17, 27}}});
ERROR_CASE("sum_taps", {{1, 2, 3, 8}}, "sum_taps: expected a multiple of 9 channels, got 8",
           [](const Tensors& x) { return sum_taps(x[0], 3); });
ERROR_CASE("sum_taps", {{1, 2, 3, 8}}, "sum_taps: expected an odd kernel and 0 to 16 doublings, got 2 and 0",
           [](const Tensors& x) { return sum_taps(x[0], 2); });
OP_CASE("conv2d_repeated", {{1, 4, 4, 2}, {1, 2, 2, 3}, {1, 1, 1, 1}, {2, 3, 3, 6}, {2}},
        [](const Tensors& x) {
          return conv2d_repeated({{x[0], 0}, {x[1], 1}, {x[2], 2}}, x[3], x[4]);
        },
        {.large = {{1, 48, 64, 16}, {1, 24, 32, 8}, {1, 12, 16, 8}, {3, 3, 3, 32}, {3}}});
ERROR_CASE("conv2d_repeated", {{1, 4, 4, 2}, {2, 3, 3, 6}, {2}},
           "conv2d_repeated: expected 6 channels in all, got 2", [](const Tensors& x) {
             return conv2d_repeated({{x[0], 0}}, x[1], x[2]);
           });
ERROR_CASE(
    "conv2d_repeated", {{1, 4, 4, 2}, {1, 1, 2, 4}, {2, 3, 3, 6}, {2}},
    "conv2d_repeated: expected pictures of one size once they are enlarged, got [1, 1, 2, 4] doubled 1 "
    "times beside [1, 4, 4, 2] doubled 0 times",
    [](const Tensors& x) {
      return conv2d_repeated({{x[0], 0}, {x[1], 1}}, x[2], x[3]);
    });
OP_CASE("reflect_pad", {{2, 3, 4, 5}},
        [](const Tensors& x) {
          return reflect_pad(x[0], {1, 2, 0, 3});
        },
        {.large = {{2, 48, 64, 16}}});
OP_CASE("reflect_pad, again and again", {{1, 2, 3, 2}},
        [](const Tensors& x) {
          return reflect_pad(x[0], {5, 4, 9, 7});
        },
        {.large = {{1, 80, 60, 4}}});
OP_CASE("reflect_pad, from one pixel, cut", {{1, 4, 1, 2}},
        [](const Tensors& x) {
          return reflect_pad(x[0], {-1, -1, 1, 3});
        },
        {.large = {{1, 160, 1, 64}}});
ERROR_CASE("reflect_pad", {{1, 0, 3, 2}}, "reflect_pad: expected a picture [N, H, W, C], got [1, 0, 3, 2]",
           [](const Tensors& x) { return reflect_pad(x[0], 1); });
ERROR_CASE("reflect_pad", {{1, 2, 3, 2}}, "reflect_pad: expected a result of at least 1x1, got 2x0",
           [](const Tensors& x) {
             return reflect_pad(x[0], {0, 0, -1, -2});
           });

// Scaled to height and width times these ratios.
Tensor scaled(const Tensor& x, double down, double right, ResizeOptions options = {}) {
  const auto times = [](int64_t size, double factor) {
    return static_cast<int64_t>(std::lround(static_cast<double>(size) * factor));
  };
  return resize(x, times(x.size(1), down), times(x.size(2), right), options);
}
const CaseOptions kLargeResize{.large = {{2, 45, 55, 7}}};
OP_CASE(
    "resize", {{2, 4, 5, 3}}, [](const Tensors& x) { return scaled(x[0], 2, 2); }, kLargeResize);
OP_CASE(
    "resize, smaller", {{1, 9, 11, 2}}, [](const Tensors& x) { return scaled(x[0], 0.44, 0.27); },
    kLargeResize);
OP_CASE(
    "resize, corners aligned", {{1, 3, 4, 17}},
    [](const Tensors& x) { return scaled(x[0], 2.33, 2.25, {.align_corners = true}); }, kLargeResize);
OP_CASE(
    "resize, nearest", {{2, 3, 5, 2}},
    [](const Tensors& x) { return scaled(x[0], 2.33, 2, {.mode = ResizeOptions::nearest}); }, kLargeResize);
OP_CASE(
    "resize, nearest exact", {{2, 8, 5, 2}},
    [](const Tensors& x) { return scaled(x[0], 0.63, 1.8, {.mode = ResizeOptions::nearest_exact}); },
    kLargeResize);
OP_CASE(
    "resize, ratio", {{1, 7, 5, 3}},
    [](const Tensors& x) { return scaled(x[0], 0.43, 0.4, {.ratio_h = 2, .ratio_w = 2.5}); }, kLargeResize);

OP_CASE("expand_as", {{2, 1, 1, 2}},
        [](const Tensors& x) {
          return expand_as(x[0], zeros({2, 4 * x[0].size(3), 3 * x[0].size(3), 1}, x[0].options()));
        },
        {.large = {{2, 1, 1, 24}}});
ERROR_CASE("expand_as", {{2, 1, 1, 3}, {1, 4, 5, 3}},
           "expand_as: expected x [N, 1, 1, C] and a picture [N, H, W, …], got [2, 1, 1, 3] and [1, 4, 5, 3]",
           [](const Tensors& x) { return expand_as(x[0], x[1]); });
ERROR_CASE("crop_as", {{1, 4, 5, 3}, {1, 4, 6, 3}},
           "crop_as: expected a picture of at least the size of [1, 4, 6, 3], got [1, 4, 5, 3]",
           [](const Tensors& x) { return crop_as(x[0], x[1]); });

ERROR_CASE("avg_pool2d", {{3, 4}}, "avg_pool2d: expected [N, H, W, C], got [3, 4]",
           [](const Tensors& x) { return avg_pool2d(x[0], {}); });
ERROR_CASE("avg_pool2d", {{1, 3, 9, 1}},
           "avg_pool2d: expected a picture that a window of 4 fits into, got [1, 3, 9, 1]",
           [](const Tensors& x) { return avg_pool2d(x[0], {.kernel_size = 4}); });
ERROR_CASE("avg_pool2d", {{1, 3, 9, 1}}, "avg_pool2d: expected padding of 0 … 1, got 2, 2, 2, 2",
           [](const Tensors& x) { return avg_pool2d(x[0], {.kernel_size = 2, .padding = 2}); });
ERROR_CASE("resize", {{1, 3, 9, 1}}, "resize: expected a size of at least 1x1, got 0x4",
           [](const Tensors& x) { return resize(x[0], 0, 4); });
ERROR_CASE("resize", {{1, 0, 9, 1}}, "resize: expected a picture [N, H, W, C], got [1, 0, 9, 1]",
           [](const Tensors& x) { return resize(x[0], 4, 4); });

// Zero-DCE: the curve and its losses.
const CaseOptions kLargeCurve{.large = {In{2, 96, 100, 3}.range(0, 1), {2, 96, 100, 24}}};
OP_CASE(
    "curve_iterations", {In{2, 3, 4, 3}.range(0, 1), {2, 3, 4, 24}},
    [](const Tensors& x) { return curve_iterations(x[0], x[1]); }, kLargeCurve);
OP_CASE("curve_iterations, one map for all", {In{2, 3, 4, 3}.range(0, 1), {2, 3, 4, 3}},
        [](const Tensors& x) { return curve_iterations(x[0], x[1], 5); },
        {.large = {In{2, 96, 100, 3}.range(0, 1), {2, 96, 100, 3}}});

const std::vector<In> kPair = {In{2, 9, 14, 3}.range(0, 1), In{2, 9, 14, 3}.range(0, 1)};
const CaseOptions kLargeSpatial{.large = {In{2, 130, 200, 3}.range(0, 1), In{2, 130, 200, 3}.range(0, 0.3)}};
OP_CASE(
    "spatial_consistency", kPair,
    [](const Tensors& x) { return spatial_consistency(x[0], x[1], SpatialForm::official); }, kLargeSpatial);
OP_CASE(
    "spatial_consistency, keras", kPair,
    [](const Tensors& x) { return spatial_consistency(x[0], x[1], SpatialForm::keras); }, kLargeSpatial);
OP_CASE(
    "spatial_consistency, paper", kPair,
    [](const Tensors& x) { return spatial_consistency(x[0], x[1], SpatialForm::paper); }, kLargeSpatial);

const CaseOptions kLargePicture{.large = {In{2, 130, 200, 3}.range(0, 1)}};
OP_CASE(
    "exposure", {In{2, 9, 14, 3}.range(0, 1)},
    [](const Tensors& x) { return exposure(x[0], ExposureForm::official, 4); }, kLargePicture);
OP_CASE(
    "exposure, paper", {In{2, 9, 14, 3}.range(0, 1)},
    [](const Tensors& x) { return exposure(x[0], ExposureForm::paper, 4); }, kLargePicture);
OP_CASE(
    "color_constancy", {In{2, 3, 4, 3}.range(0, 1)},
    [](const Tensors& x) { return color_constancy(x[0], ColorForm::official); }, kLargePicture);
OP_CASE(
    "color_constancy, paper", {In{2, 3, 4, 3}.range(0, 1)},
    [](const Tensors& x) { return color_constancy(x[0], ColorForm::paper); }, kLargePicture);

const CaseOptions kLargeMaps{.large = {{2, 100, 120, 24}}};
OP_CASE(
    "total_variation", {{2, 5, 4, 6}},
    [](const Tensors& x) { return total_variation(x[0], VariationForm::official); }, kLargeMaps);
OP_CASE(
    "total_variation, keras", {{2, 5, 4, 6}},
    [](const Tensors& x) { return total_variation(x[0], VariationForm::keras); }, kLargeMaps);
OP_CASE(
    "total_variation, paper", {{2, 5, 4, 6}},
    [](const Tensors& x) { return total_variation(x[0], VariationForm::paper); }, kLargeMaps);

ERROR_CASE("curve_iterations", {{1, 2, 2, 4}, {1, 2, 2, 4}},
           "curve_iterations: expected a picture [N, H, W, 3], got [1, 2, 2, 4]",
           [](const Tensors& x) { return curve_iterations(x[0], x[1]); });
ERROR_CASE("curve_iterations", {{1, 2, 2, 3}, {1, 2, 2, 21}},
           "curve_iterations: expected curves [1, 2, 2, 24] or [1, 2, 2, 3], got [1, 2, 2, 21]",
           [](const Tensors& x) { return curve_iterations(x[0], x[1]); });
ERROR_CASE("curve_iterations", {{1, 2, 2, 3}, {1, 2, 2, 3}},
           "curve_iterations: expected 1 to 16 iterations, got 17",
           [](const Tensors& x) { return curve_iterations(x[0], x[1], 17); });
ERROR_CASE("spatial_consistency", {{1, 3, 8, 3}, {1, 3, 8, 3}},
           "spatial_consistency: expected pictures [N, H, W, C] of at least 4x4, got [1, 3, 8, 3]",
           [](const Tensors& x) { return spatial_consistency(x[0], x[1], SpatialForm::official); });
ERROR_CASE("spatial_consistency", {{1, 8, 8, 3}, {1, 8, 9, 3}},
           "spatial_consistency: expected a low picture f32 [1, 8, 8, 3], got f32 [1, 8, 9, 3]",
           [](const Tensors& x) { return spatial_consistency(x[0], x[1], SpatialForm::official); });
ERROR_CASE("exposure", {{1, 15, 20, 3}},
           "exposure: expected a picture [N, H, W, C] of at least 16x16, got [1, 15, 20, 3]",
           [](const Tensors& x) { return exposure(x[0], ExposureForm::official); });
ERROR_CASE("color_constancy", {{1, 2, 2, 1}},
           "color_constancy: expected a picture [N, H, W, 3], got [1, 2, 2, 1]",
           [](const Tensors& x) { return color_constancy(x[0], ColorForm::official); });
ERROR_CASE("total_variation", {{2, 2}}, "total_variation: expected maps [N, H, W, C], got [2, 2]",
           [](const Tensors& x) { return total_variation(x[0], VariationForm::official); });
ERROR_CASE("total_variation", {{1, 3, 3, 1}},
           "total_variation: the keras form expects at least 2 columns and 2 channels, got [1, 3, 3, 1]",
           [](const Tensors& x) { return total_variation(x[0], VariationForm::keras); });

}  // namespace
}  // namespace lux
