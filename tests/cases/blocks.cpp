// Rows of the operators that larger networks are built of: transposed convolution, maxima, normalisation,
// attention, colour spaces.
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/amax.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/batch_norm.h"
#include "luxgrad/kernels/blur_pool.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/kernels/dropout.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/global_context.h"
#include "luxgrad/kernels/hsv.h"
#include "luxgrad/kernels/linear.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/prelu.h"
#include "luxgrad/kernels/residual.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/kernels/softmax.h"

namespace lux {
namespace {

using In = CaseInput;

// Transposed convolution.
const CaseOptions kLargeTransposed{.large = {{1, 20, 30, 16}, {24, 3, 3, 16}, {24}}};
OP_CASE("conv_transpose2d", {{2, 3, 4, 3}, {2, 2, 2, 3}, {2}},
        [](const Tensors& x) { return conv_transpose2d(x[0], x[1], x[2]); },
        {.large = {{1, 20, 30, 16}, {24, 2, 2, 16}, {24}}});
OP_CASE(
    "conv_transpose2d, same", {{1, 3, 2, 3}, {4, 3, 3, 3}, {4}},
    [](const Tensors& x) {
      return conv_transpose2d(x[0], x[1], x[2], {.padding = {0, 1, 0, 1}});
    },
    kLargeTransposed);
OP_CASE(
    "conv_transpose2d, padding 1, output_padding 1", {{1, 2, 3, 2}, {3, 3, 3, 2}, {3}},
    [](const Tensors& x) {
      return conv_transpose2d(x[0], x[1], x[2], {.padding = {1, 0, 1, 0}});
    },
    kLargeTransposed);
OP_CASE("conv_transpose2d, stride 3, without bias", {{1, 2, 2, 2}, {2, 4, 4, 2}},
        [](const Tensors& x) { return conv_transpose2d(x[0], x[1], {}, {.stride = 3, .padding = 1}); },
        {.large = {{1, 20, 30, 16}, {24, 4, 4, 16}}});
OP_CASE(
    "conv_transpose2d, sigmoid", {{1, 3, 2, 3}, {4, 3, 3, 3}, {4}},
    [](const Tensors& x) {
      return conv_transpose2d(x[0], x[1], x[2], {.padding = 1, .activation = Activation::sigmoid});
    },
    kLargeTransposed);
const CaseOptions kLargeDoubled{.large = {{1, 20, 30, 32}, {33, 3, 3, 32}}};
OP_CASE(
    "conv_transpose2d, leaky_relu, without bias", {{1, 3, 2, 3}, {4, 3, 3, 3}},
    [](const Tensors& x) {
      return conv_transpose2d(x[0], x[1], {},
                              {.padding = 1, .activation = Activation::leaky_relu, .negative_slope = 0.2});
    },
    kLargeDoubled);
OP_CASE(
    "conv_transpose2d, tanh, without bias", {{1, 3, 2, 3}, {4, 3, 3, 3}},
    [](const Tensors& x) {
      return conv_transpose2d(x[0], x[1], {}, {.padding = 1, .activation = Activation::tanh});
    },
    kLargeDoubled);
ERROR_CASE("conv_transpose2d", {{1, 2, 2, 3}, {4, 2, 2, 3}},
           "conv_transpose2d: expected a negative_slope of at least 0, got -1",
           [](const Tensors& x) { return conv_transpose2d(x[0], x[1], {}, {.negative_slope = -1}); });
ERROR_CASE("conv_transpose2d", {{1, 2, 2, 3}, {4, 2, 2, 2}},
           "conv_transpose2d: expected an input [N, H, W, C] and a weight [out, kH, kW, C], got [1, 2, 2, 3] "
           "and [4, 2, 2, 2]",
           [](const Tensors& x) { return conv_transpose2d(x[0], x[1]); });
ERROR_CASE("conv_transpose2d", {{1, 2, 2, 3}, {4, 2, 2, 3}, {3}},
           "conv_transpose2d: expected bias [4], got [3]",
           [](const Tensors& x) { return conv_transpose2d(x[0], x[1], x[2]); });
ERROR_CASE("conv_transpose2d", {{1, 2, 2, 3}, {4, 2, 2, 3}},
           "conv_transpose2d: expected padding of 0 … 1, got 2",
           [](const Tensors& x) { return conv_transpose2d(x[0], x[1], {}, {.padding = 2}); });
ERROR_CASE("conv_transpose2d", {{1, 2, 2, 3}, {4, 2, 2, 3}},
           "conv_transpose2d: expected a stride of at least 1, got 0",
           [](const Tensors& x) { return conv_transpose2d(x[0], x[1], {}, {.stride = 0}); });
ERROR_CASE("conv_transpose2d", {{1, 1, 1, 3}, {4, 2, 2, 3}},
           "conv_transpose2d: expected a result with pixels, got 0x0 from [1, 1, 1, 3]",
           [](const Tensors& x) { return conv_transpose2d(x[0], x[1], {}, {.padding = 1}); });

// Maxima. Distinct values: a maximum that changes hands has no derivative.
const CaseOptions kLargePool{.large = {{2, 49, 62, 16}}};
OP_CASE(
    "max_pool2d", {{2, 5, 4, 3}}, [](const Tensors& x) { return max_pool2d(x[0], {}); }, kLargePool);
OP_CASE(
    "max_pool2d, ceil", {{1, 5, 7, 2}},
    [](const Tensors& x) { return max_pool2d(x[0], {.ceil_mode = true}); }, kLargePool);
OP_CASE(
    "max_pool2d, overlapping, padded", {{1, 6, 7, 2}},
    [](const Tensors& x) { return max_pool2d(x[0], {.kernel_size = 3, .stride = 2, .padding = 1}); },
    kLargePool);
ERROR_CASE("max_pool2d", {{1, 1, 4, 2}},
           "max_pool2d: expected a picture that a window of 2 fits into, got [1, 1, 4, 2]",
           [](const Tensors& x) { return max_pool2d(x[0], {}); });
OP_CASE("amax", {{2, 3, 4, 5}}, [](const Tensors& x) { return amax(x[0]); }, {.large = {{2, 48, 64, 16}}});
ERROR_CASE("amax", {{2, 0}}, "amax: expected elements along the last dimension, got [2, 0]",
           [](const Tensors& x) { return amax(x[0]); });

OP_CASE("blur_pool", {{2, 5, 4, 3}}, [](const Tensors& x) { return blur_pool(x[0]); },
        {.large = {{2, 48, 64, 16}}});
OP_CASE("blur_pool, next to nothing", {{1, 1, 2, 3}}, [](const Tensors& x) { return blur_pool(x[0]); },
        {.large = {{900, 2, 1, 16}}});
ERROR_CASE("blur_pool", {{1, 0, 4, 2}},
           "blur_pool: expected a picture [N, H, W, C] with pixels, got [1, 0, 4, 2]",
           [](const Tensors& x) { return blur_pool(x[0]); });

// Normalisation and attention.
const CaseOptions kLargeNorm{.large = {{2, 48, 64, 16}, {16}, {16}}, .bf16_bound = 0.03, .f16_bound = 5e-3};
OP_CASE(
    "batch_norm", {{2, 3, 4, 3}, {3}, {3}},
    [](const Tensors& x) { return batch_norm(x[0], x[1], x[2], 1e-3).y; }, kLargeNorm);
OP_CASE(
    "batch_norm, given statistics", {{2, 3, 4, 3}, {3}, {3}},
    [](const Tensors& x) {
      const ChannelStatistics given{full({x[0].size(3)}, 0.2, x[0].options()),
                                    full({x[0].size(3)}, 1.5, x[0].options())};
      return batch_norm(x[0], x[1], x[2], given, 1e-3);
    },
    kLargeNorm);
ERROR_CASE("batch_norm", {{0, 3, 4, 3}, {3}, {3}},
           "batch_norm: expected a picture [N, H, W, C] with pixels, got [0, 3, 4, 3]",
           [](const Tensors& x) { return batch_norm(x[0], x[1], x[2], 1e-3).y; });
ERROR_CASE("batch_norm", {{1, 3, 4, 3}, {3}, {4}},
           "batch_norm: expected weight and bias [3] of dtype f32, got [4] of f32",
           [](const Tensors& x) { return batch_norm(x[0], x[1], x[2], 1e-3).y; });
OP_CASE("softmax", {{3, 4, 5}}, [](const Tensors& x) { return softmax(x[0], -1); },
        {.large = {{40, 64, 16}}});
OP_CASE("softmax, over pixels", {{2, 12, 3}}, [](const Tensors& x) { return softmax(x[0], 1); },
        {.large = {{2, 3000, 8}}});
ERROR_CASE("softmax", {{2, 3}}, "softmax: expected a dimension of [2, 3] with elements, got 2",
           [](const Tensors& x) { return softmax(x[0], 2); });
OP_CASE("attention_pool", {{2, 3, 4, 5}},
        [](const Tensors& x) {
          const auto [largest, average, mean] = attention_pool(x[0]);
          return largest * mean + average;
        },
        {.large = {{2, 48, 64, 16}}, .bf16_bound = 0.03, .f16_bound = 5e-3});
OP_CASE("attention_scale", {{2, 3, 4, 5}, {2, 3, 4, 1}, {2, 1, 1, 5}},
        [](const Tensors& x) { return attention_scale(x[0], x[1], x[2], AttentionOrder::pixels_first); },
        {.large = {{2, 48, 64, 16}, {2, 48, 64, 1}, {2, 1, 1, 16}}});
OP_CASE("attention_scale, channels first", {{2, 3, 4, 5}, {2, 3, 4, 1}, {2, 1, 1, 5}},
        [](const Tensors& x) { return attention_scale(x[0], x[1], x[2], AttentionOrder::channels_first); },
        {.large = {{2, 48, 64, 16}, {2, 48, 64, 1}, {2, 1, 1, 16}}});
OP_CASE("global_context", {{2, 3, 4, 5}, {2, 3, 4, 1}},
        [](const Tensors& x) { return global_context(x[0], x[1]); },
        {.large = {{2, 48, 64, 16}, {2, 48, 64, 1}}});
OP_CASE("residual", {{2, 3, 4, 5}, {2, 1, 1, 5}, {2, 3, 4, 5}},
        [](const Tensors& x) { return residual(x[0], x[1], 0.2, x[2]); },
        {.large = {{2, 48, 64, 16}, {2, 1, 1, 16}, {2, 48, 64, 16}}, .bf16_bound = 0.03, .f16_bound = 5e-3});
ERROR_CASE("residual", {{3, 4}, {3, 4}}, "residual: expected a picture [N, H, W, C], got [3, 4]",
           [](const Tensors& x) { return residual(x[0], x[1], 0.2, x[0]); });
ERROR_CASE("residual", {{2, 3, 4, 5}, {1, 1, 1, 5}},
           "residual: expected a bias [2, 1, 1, 5] and a skip [2, 3, 4, 5] of the picture's dtype, got "
           "[1, 1, 1, 5] and [2, 3, 4, 5]",
           [](const Tensors& x) { return residual(x[0], x[1], 0.2, x[0]); });
ERROR_CASE("residual", {{2, 3, 4, 5}, {2, 1, 1, 5}},
           "residual: expected a negative_slope of at least 0, got -0.1",
           [](const Tensors& x) { return residual(x[0], x[1], -0.1, x[0]); });
ERROR_CASE("global_context", {{1, 3, 4, 2}, {1, 3, 4, 2}},
           "global_context: expected logits [1, 3, 4, 1] of the picture's dtype, got [1, 3, 4, 2]",
           [](const Tensors& x) { return global_context(x[0], x[1]); });
ERROR_CASE("attention_pool", {{1, 0, 4, 2}},
           "attention_pool: expected a picture [N, H, W, C] with pixels, got [1, 0, 4, 2]",
           [](const Tensors& x) { return attention_pool(x[0]).mean; });
ERROR_CASE("attention_scale", {{1, 3, 4, 2}, {1, 3, 4, 2}, {1, 1, 1, 2}},
           "attention_scale: expected attentions [1, 3, 4, 1] and [1, 1, 1, 2] of the picture's dtype, got "
           "[1, 3, 4, 2] and [1, 1, 1, 2]",
           [](const Tensors& x) { return attention_scale(x[0], x[1], x[2], AttentionOrder::pixels_first); });
const CaseOptions kLargeStreams{.large = {{2, 48, 64, 16}, {2, 48, 64, 16}, {2, 48, 64, 16}}};
OP_CASE(
    "pooled_sum", {{2, 3, 4, 5}, {2, 3, 4, 5}, {2, 3, 4, 5}}, [](const Tensors& x) { return pooled_sum(x); },
    kLargeStreams);
OP_CASE("weighted_sum", {{2, 3, 4, 5}, {2, 3, 4, 5}, {2, 1, 1, 5}, {2, 1, 1, 5}},
        [](const Tensors& x) {
          return weighted_sum({x[0], x[1]}, {x[2], x[3]});
        },
        {.large = {{2, 48, 64, 16}, {2, 48, 64, 16}, {2, 1, 1, 16}, {2, 1, 1, 16}}});
ERROR_CASE("pooled_sum", {}, "pooled_sum: expected 1 to 4 streams, got 0",
           [](const Tensors& x) { return pooled_sum(x); });
ERROR_CASE("pooled_sum", {{1, 2, 2, 3}, {1, 2, 2, 4}},
           "pooled_sum: expected streams of one shape and dtype, got [1, 2, 2, 3] and [1, 2, 2, 4]",
           [](const Tensors& x) { return pooled_sum(x); });
ERROR_CASE("weighted_sum", {{1, 2, 2, 3}}, "weighted_sum: expected 1 weights, got 0",
           [](const Tensors& x) { return weighted_sum(x, {}); });
ERROR_CASE("weighted_sum", {{1, 2, 2, 3}, {1, 1, 1, 4}},
           "weighted_sum: expected weights [1, 1, 1, 3] of the streams' dtype, got [1, 1, 1, 4]",
           [](const Tensors& x) { return weighted_sum({x[0]}, {x[1]}); });
OP_CASE("linear", {{3, 5}, {4, 5}, {4}}, [](const Tensors& x) { return linear(x[0], x[1], x[2]); },
        {.large = {{600, 50}, {40, 50}, {40}}});
ERROR_CASE("linear", {{3, 5}, {4, 6}},
           "linear: expected x [N, in] and weight [out, in], got [3, 5] and [4, 6]",
           [](const Tensors& x) { return linear(x[0], x[1]); });

// One element at a time.
const CaseOptions kLargeMap{.large = {{100, 200}}};
OP_CASE("prelu", {In{3, 7}.away_from({0}), {1}}, [](const Tensors& x) { return prelu(x[0], x[1]); },
        {.large = {{100, 200}, {1}}});
OP_CASE(
    "elu", {In{3, 7}.away_from({0})}, [](const Tensors& x) { return elu(x[0]); }, kLargeMap);
OP_CASE("log", {In{3, 7}.range(0.1, 2)}, [](const Tensors& x) { return log(x[0]); },
        {.large = {In{100, 200}.range(0.1, 2)}});
OP_CASE(
    "huber", {In{3, 7}.away_from({-0.5, 0.5})}, [](const Tensors& x) { return huber(x[0], 0.5); }, kLargeMap);
OP_CASE(
    "dropout", {{5, 7}}, [](const Tensors& x) { return dropout(x[0], 0.3, 7); }, kLargeMap);
ERROR_CASE("prelu", {{3}, {2}}, "prelu: expected a weight [1] of dtype f32, got [2] of f32",
           [](const Tensors& x) { return prelu(x[0], x[1]); });
ERROR_CASE("huber", {{3}}, "huber: expected a positive delta, got 0",
           [](const Tensors& x) { return huber(x[0], 0); });
ERROR_CASE("dropout", {{3}}, "dropout: expected a probability in [0, 1), got 1",
           [](const Tensors& x) { return dropout(x[0], 1, 7); });
// The gradient of hue is steep where colours are near gray: little is left of it in half precision.
OP_CASE("rgb_to_hsv", {In{2, 3, 4, 3}.range(0.1, 1)}, [](const Tensors& x) { return rgb_to_hsv(x[0]); },
        {.large = {In{2, 90, 100, 3}.range(0.1, 1)}, .f32_bound = 1e-4, .half = false});
ERROR_CASE("rgb_to_hsv", {{1, 2, 2, 4}}, "rgb_to_hsv: expected [N, H, W, 3], got [1, 2, 2, 4]",
           [](const Tensors& x) { return rgb_to_hsv(x[0]); });

}  // namespace
}  // namespace lux
