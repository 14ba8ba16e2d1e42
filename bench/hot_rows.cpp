// Twelve hot rows, once each, for bench/instructions.sh, which counts the instructions of `hot_row` under
// callgrind. Usage: hot_rows [--compiler]: with it, only says what compiled it.
#include <cstdio>
#include <string_view>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/kernels/batch_norm.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/thread_pool.h"

// Its name is what callgrind looks for.
extern "C" __attribute__((noinline)) void hot_row(lux::FunctionRef<void()> row) {
  row();
  asm volatile("");  // no tail call: callgrind waits for the return
}

namespace lux {
namespace {

Tensor noise(const Shape& shape, uint64_t seed) {
  Tensor tensor = empty(shape);
  Generator generator(seed);
  fill_uniform_(tensor, -1, 1, generator);
  return tensor;
}

struct Counter {
  /// Warm, then counted.
  void operator()(const char* name, FunctionRef<void()> row) const {
    std::printf("%s\n", name);
    row();
    hot_row(row);
  }

  /// The gradients of `run` for those of its inputs that ask for one.
  void backward_of(const char* name, const Tensors& inputs, FunctionRef<Tensor(const Tensors&)> run) const {
    (*this)(name, [&] {
      const Tensor y = run(inputs);
      backward(y, full(y.shape(), 1, y.options()));
    });
  }
};

void all(const Counter& count) {
  const Tensor wide = noise({1, 48, 64, 32}, 1), picture = noise({1, 48, 64, 3}, 2);
  const Tensor square = noise({32, 3, 3, 32}, 3), first = noise({32, 3, 3, 3}, 4),
               last = noise({3, 3, 3, 32}, 5);
  const Tensor four = noise({32, 4, 4, 32}, 6), point = noise({32, 1, 1, 32}, 7),
               lanes = noise({32, 3, 3, 1}, 8);
  const Tensor twice = noise({32, 3, 3, 32}, 9), maps = noise({1, 48, 64, 24}, 10);
  const Tensor scale = noise({32}, 11), shift = noise({32}, 12);
  const Conv2dOptions same{.padding = 1};
  count("conv 3x3, 32 to 32", [&] { conv2d(wide, square, {}, same); });
  count("conv 3x3, 3 to 32", [&] { conv2d(picture, first, {}, same); });
  count("conv 3x3, 32 to 3", [&] { conv2d(wide, last, {}, same); });
  count("conv 4x4, stride 2", [&] { conv2d(wide, four, {}, {.stride = 2, .padding = 1}); });
  count("conv 1x1, 32 to 32", [&] { conv2d(wide, point); });
  count("conv 3x3, depthwise", [&] { conv2d(wide, lanes, {}, {.padding = 1, .groups = 32}); });
  count("transposed 3x3, stride 2", [&] { conv_transpose2d(wide, twice, shift); });
  count("resize to twice the size", [&] { resize(wide, 96, 128); });
  count("max pool 2x2", [&] { max_pool2d(wide, {.kernel_size = 2, .stride = 2}); });
  count("curve, 8 iterations", [&] { curve_iterations(picture, maps); });
  count.backward_of("conv 3x3, 32 to 32, forward and gradients",
                    {wide.detach().requires_grad_(), square.detach().requires_grad_()},
                    [&](const Tensors& in) { return conv2d(in[0], in[1], {}, same); });
  count.backward_of(
      "batch norm, forward and gradients",
      {wide.detach().requires_grad_(), scale.detach().requires_grad_(), shift.detach().requires_grad_()},
      [&](const Tensors& in) { return batch_norm(in[0], in[1], in[2], 1e-3).y; });
}

}  // namespace
}  // namespace lux

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--compiler") {
    std::puts(LUX_COMPILER);
    return 0;
  }
  lux::set_num_threads(1);
  lux::all({});
  return 0;
}
