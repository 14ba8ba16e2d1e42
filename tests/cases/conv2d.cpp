// Rows for convolution: strides, pads, groups, several inputs, every activation.
#include "luxgrad/kernels/conv2d.h"

#include "luxgrad/autograd/op_case.h"

namespace lux {
namespace {

// Many channels with weights that leave the activations room.
CaseInput weights(const CaseInput& shape) { return shape.range(-0.2, 0.2); }

const CaseOptions kLarge{.large = {{1, 24, 30, 32}, {32, 3, 3, 32}, {32}}};

OP_CASE(
    "conv2d", {{2, 5, 6, 3}, {4, 3, 3, 3}, {4}},
    [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.padding = 1}); }, kLarge);
OP_CASE("conv2d, without bias, 1x1", {{2, 3, 4, 5}, {6, 1, 1, 5}},
        [](const Tensors& x) { return conv2d(x[0], x[1]); }, {.large = {{2, 40, 50, 32}, {48, 1, 1, 32}}});
OP_CASE("conv2d, stride 2, groups 2", {{2, 7, 6, 4}, {6, 3, 3, 2}, {6}},
        [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.stride = 2, .padding = 1, .groups = 2}); },
        {.large = {{1, 49, 62, 32}, {32, 3, 3, 16}, {32}}});
OP_CASE("conv2d, depthwise", {{1, 6, 5, 4}, {4, 3, 3, 1}, {4}},
        [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.padding = 1, .groups = x[0].size(3)}); },
        {.large = {{1, 24, 30, 32}, {32, 3, 3, 1}, {32}}});
OP_CASE("conv2d, four pads", {{1, 4, 5, 2}, {3, 4, 2, 2}},
        [](const Tensors& x) {
          return conv2d(x[0], x[1], {}, {.stride = 2, .padding = {0, 2, 1, 0}});
        },
        {.large = {{1, 49, 62, 16}, {24, 4, 2, 16}}});
OP_CASE("conv2d, two inputs", {{1, 5, 4, 2}, {1, 5, 4, 3}, {4, 3, 3, 5}, {4}},
        [](const Tensors& x) {
          return conv2d(Tensors{x[0], x[1]}, x[2], x[3], {.padding = 1});
        },
        {.large = {{1, 24, 30, 32}, {1, 24, 30, 32}, {32, 3, 3, 64}, {32}}});
OP_CASE("conv2d, pads of 0 to 2 and channels that fill no vector",
        {{1, 5, 6, 2}, {1, 5, 6, 3}, {5, 3, 3, 5}, {5}},
        [](const Tensors& x) {
          return conv2d(Tensors{x[0], x[1]}, x[2], x[3],
                        {.padding = {0, 2, 1, 2}, .activation = Activation::tanh});
        },
        {.large = {{2, 41, 66, 21}, {2, 41, 66, 23}, weights({41, 3, 3, 44}), {41}},
         .bf16_bound = 0.03,
         .f16_bound = 5e-3});
OP_CASE(
    "conv2d, relu", {{1, 5, 4, 3}, {4, 3, 3, 3}, {4}},
    [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.padding = 1, .activation = Activation::relu}); },
    kLarge);
OP_CASE(
    "conv2d, leaky_relu", {{1, 5, 4, 3}, {4, 3, 3, 3}, {4}},
    [](const Tensors& x) {
      return conv2d(x[0], x[1], x[2],
                    {.padding = 1, .activation = Activation::leaky_relu, .negative_slope = 0.1});
    },
    kLarge);
OP_CASE("conv2d, sigmoid", {{1, 5, 4, 3}, {4, 3, 3, 3}, {4}},
        [](const Tensors& x) {
          return conv2d(x[0], x[1], x[2], {.padding = 1, .activation = Activation::sigmoid});
        },
        {.large = {{1, 24, 30, 32}, weights({24, 3, 3, 32}), {24}}, .bf16_bound = 0.03, .f16_bound = 5e-3});
OP_CASE("conv2d, tanh", {{1, 5, 4, 3}, {4, 3, 3, 3}, {4}},
        [](const Tensors& x) {
          return conv2d(x[0], x[1], x[2], {.padding = 1, .activation = Activation::tanh});
        },
        {.large = {{1, 24, 30, 32}, weights({24, 3, 3, 32}), {24}}, .bf16_bound = 0.03, .f16_bound = 5e-3});

// What is added to the result: by kernels that do it tile by tile, and by others behind.
OP_CASE("conv2d, skip", {{2, 4, 3, 3}, {4, 1, 1, 3}, {4}, {2, 4, 3, 4}},
        [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {}, x[3]); },
        {.large = {{2, 30, 41, 16}, {24, 1, 1, 16}, {24}, {2, 30, 41, 24}}});
OP_CASE("conv2d, skip, 3x3", {{1, 4, 3, 3}, {4, 3, 3, 3}, {1, 4, 3, 4}},
        [](const Tensors& x) { return conv2d(x[0], x[1], {}, {.padding = 1}, x[2]); },
        {.large = {{1, 30, 41, 16}, {24, 3, 3, 16}, {1, 30, 41, 24}}});
OP_CASE("conv2d, skip, groups", {{1, 4, 4, 4}, {6, 3, 3, 2}, {1, 2, 2, 6}},
        [](const Tensors& x) {
          return conv2d(x[0], x[1], {}, {.stride = 2, .padding = 1, .groups = 2}, x[2]);
        },
        {.large = {{2, 30, 42, 16}, {24, 3, 3, 8}, {2, 15, 21, 24}}});
OP_CASE("conv2d, skip, depthwise", {{1, 4, 4, 4}, {4, 3, 3, 1}, {1, 4, 4, 4}},
        [](const Tensors& x) { return conv2d(x[0], x[1], {}, {.padding = 1, .groups = x[0].size(3)}, x[2]); },
        {.large = {{2, 30, 42, 24}, {24, 3, 3, 1}, {2, 30, 42, 24}}});
ERROR_CASE("conv2d", {{1, 8, 8, 3}, {8, 3, 3, 4}},
           "conv2d: expected input with 4 channels for weight [8, 3, 3, 4], got [1, 8, 8, 3]",
           [](const Tensors& x) { return conv2d(x[0], x[1]); });
ERROR_CASE("conv2d", {{8, 8, 3}, {8, 3, 3, 3}}, "conv2d: expected an input [N, H, W, C], got [8, 8, 3]",
           [](const Tensors& x) { return conv2d(x[0], x[1]); });
ERROR_CASE("conv2d", {{1, 8, 8, 3}, {8, 3, 3, 3}, {4}},
           "conv2d: expected bias [8] for weight [8, 3, 3, 3], got [4]",
           [](const Tensors& x) { return conv2d(x[0], x[1], x[2]); });
ERROR_CASE("conv2d", {{1, 8, 8, 4}, {9, 3, 3, 2}},
           "conv2d: expected groups that divide the 9 outputs of weight [9, 3, 3, 2], got 2",
           [](const Tensors& x) { return conv2d(x[0], x[1], {}, {.groups = 2}); });
ERROR_CASE("conv2d", {{1, 8, 8, 3}, {8, 3, 3, 3}}, "conv2d: expected a stride of at least 1, got 0",
           [](const Tensors& x) { return conv2d(x[0], x[1], {}, {.stride = 0}); });
ERROR_CASE("conv2d", {{1, 2, 8, 3}, {8, 3, 3, 3}},
           "conv2d: expected an input of at least 3x3 pixels with its padding for weight [8, 3, 3, 3], got "
           "2x8 from [1, 2, 8, 3]",
           [](const Tensors& x) { return conv2d(x[0], x[1]); });
ERROR_CASE("conv2d", {{1, 8, 8, 3}, {8, 3, 3, 3}, {1, 8, 8, 8}},
           "conv2d: expected a skip [1, 6, 6, 8] of the weight's dtype, got [1, 8, 8, 8]",
           [](const Tensors& x) { return conv2d(x[0], x[1], {}, {}, x[2]); });
ERROR_CASE("conv2d", {{1, 8, 8, 3}, {8, 3, 3, 3}, {1, 6, 6, 8}},
           "conv2d: expected no activation where a skip is added",
           [](const Tensors& x) { return conv2d(x[0], x[1], {}, {.activation = Activation::relu}, x[2]); });

}  // namespace
}  // namespace lux
