// Rows for layers/: a layer as a function of its input and its parameters.
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/layers/conv2d.h"

namespace lux {
namespace {

struct Net : Module {
  Conv2d conv{
      *this, "conv", {.in_channels = 4, .out_channels = 3, .kernel_size = 3, .options = {.padding = 1}}};
};

OP_CASE("layer Conv2d, two inputs", {{2, 5, 6, 3}, {2, 5, 6, 1}, {3, 3, 3, 4}, {3}},
        [](const Tensors& x) {
          Net net;
          net.substitute({x[2], x[3]});
          return net.conv({x[0], x[1]});
        },
        {.large = {{2, 50, 60, 3}, {2, 50, 60, 1}, {3, 3, 3, 4}, {3}}});

ERROR_CASE("layer Conv2d", {{1, 5, 6, 3}},
           "Conv2d: expected channel counts that are multiples of groups 2, got 3 -> 4",
           [](const Tensors& x) {
             Module net;
             return Conv2d(net, "conv", {3, 4, 3, {.groups = 2}})(x[0]);
           });

}  // namespace
}  // namespace lux
