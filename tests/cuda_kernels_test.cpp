// Every tuned kernel for the GPU, run by the emulator in three orders of its threads, agrees with the plain text
// of its operator; its results do not depend on the order, and nothing is written outside of them. The sizes are
// awkward: no multiples of anything, several blocks, channels for wide accesses and for single ones.
#include <doctest/doctest.h>

#include <set>

#include "cuda_emulator.h"
#include "golden.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/batch_norm.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/memory.h"
#include "same_bits.h"
#include "scopes.h"

using namespace lux;

namespace {

struct KernelCase {
  const char* name;
  std::vector<CaseInput> inputs;
  CaseFunction run;
  std::set<std::string> slots;  // that must have taken it, forward or backward
  double bound = 2e-5, bf16_bound = 1e-2;
};

/// While it lives, the CPU's operators run the kernels of the GPU.
class EmulatedDevice {
 public:
  explicit EmulatedDevice(emulator::Order order) {
    emulator::set_order(order, 3);
    cuda::fill(slots(), Device::Type::cpu);
  }
  ~EmulatedDevice() {
    slots() = {};
    emulator::set_order(emulator::Order::forward);
  }
  EmulatedDevice(const EmulatedDevice&) = delete;
  EmulatedDevice& operator=(const EmulatedDevice&) = delete;
};

// The result and the gradients of all inputs, for a gradient of the result that is exact in every dtype.
Tensors evaluate(const KernelCase& row, const Tensors& values) {
  const Tensors x = leaves(row.inputs, values);
  const Tensor y = row.run(x);
  const Tensor gy = empty(y.shape(), {DType::f64, kCpu});
  for (int64_t i = 0; i < gy.numel(); ++i)
    gy.data<double>()[i] = (i % 2 == 0 ? 1 : -1) * (64.0 + static_cast<double>(i * 37 % 128)) / 128;
  backward(y, gy.to(y.dtype()));
  Tensors all{y.detach()};
  for (const Tensor& leaf : x) all.push_back(leaf.grad());
  return all;
}

Tensors evaluate_plain(const KernelCase& row, const Tensors& values) {
  const PlainKernels plain;
  return evaluate(row, values);
}

// Every slot of the row takes it.
Tensors evaluate_emulated(const KernelCase& row, const Tensors& values, emulator::Order order) {
  const EmulatedDevice device(order);
  const Layout guarded({.guard = true});
  const cuda::FloorMeter meter;
  Tensors all = evaluate(row, values);
  for (const std::string& slot : row.slots) CHECK_MESSAGE(meter.moved().contains(slot), slot, " did not run");
  return all;
}

void check_row(const KernelCase& row, DType dtype) {
  CAPTURE(std::string(row.name));
  CAPTURE(std::string(name_of(dtype)));
  const Tensors values = draw(row.inputs, dtype);
  const Tensors expected = evaluate_plain(row, values);
  const int64_t overruns = memory::stats().overruns;
  {
    const Tensors first = evaluate_emulated(row, values, emulator::Order::forward);
    for (size_t k = 0; k < expected.size(); ++k) {
      REQUIRE(first[k].defined() == expected[k].defined());
      if (!first[k].defined()) continue;
      const std::string text = difference(k == 0 ? "result" : cat("gradient of input ", k - 1), first[k].to(DType::f64),
                                          expected[k].to(DType::f64), dtype == DType::f32 ? row.bound : row.bf16_bound);
      CHECK_MESSAGE(text.empty(), text);
    }
    for (const emulator::Order order : {emulator::Order::backward, emulator::Order::random}) {
      const Tensors again = evaluate_emulated(row, values, order);
      for (size_t k = 0; k < again.size(); ++k) CHECK(same_bits(first[k], again[k]));
    }
  }
  CHECK(memory::stats().overruns == overruns);
}

void check_rows(const std::vector<KernelCase>& rows) {
  for (const KernelCase& row : rows) {
    for (const DType dtype : {DType::f32, DType::bf16}) check_row(row, dtype);
  }
}

CaseInput picture(std::initializer_list<int64_t> sizes) { return CaseInput(sizes).range(0, 1); }

}  // namespace

TEST_CASE("curve") {
  const std::set<std::string> both = {"curve", "curve_gradient"};
  check_rows({
      {"eight steps", {picture({2, 17, 19, 3}), {2, 17, 19, 24}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); }, both},
      {"eight steps, of a constant picture", {picture({1, 3, 5, 3}).constant(), {1, 3, 5, 24}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); }, both},
      {"eight steps, constant maps", {picture({1, 3, 5, 3}), CaseInput{1, 3, 5, 24}.constant()},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); }, both},
      {"three steps", {picture({1, 7, 41, 3}), {1, 7, 41, 9}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1], 3); }, both},
      {"one map", {picture({3, 7, 13, 3}), {3, 7, 13, 3}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); }, both},
      {"sixteen steps", {picture({1, 5, 7, 3}), {1, 5, 7, 48}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1], 16); }, both},
  });
}

TEST_CASE("a slot says what it must move: the floor of eight steps is 120 and 216 bytes per pixel and more") {
  const KernelCase row{"curve", {picture({1, 5, 7, 3}), {1, 5, 7, 24}},
                       [](const Tensors& x) { return curve_iterations(x[0], x[1]); }, {}};
  const EmulatedDevice device(emulator::Order::forward);
  const cuda::FloorMeter meter;
  evaluate(row, draw(row.inputs, DType::f32));
  CHECK(meter.moved().at("curve").bytes == 35 * 120);
  CHECK(meter.moved().at("curve_gradient").bytes == 35 * (216 + 12));  // with the gradient of the picture
  CHECK(meter.moved().at("curve").calls == 1);
}

TEST_CASE("selective kernels") {
  const CaseFunction pool = [](const Tensors& x) { return pooled_sum(x); };
  const CaseFunction three = [](const Tensors& x) { return weighted_sum({x[0], x[1], x[2]}, {x[3], x[4], x[5]}); };
  const CaseFunction two = [](const Tensors& x) { return weighted_sum({x[0], x[1]}, {x[2], x[3]}); };
  const std::set<std::string> pooled = {"pooled_sum", "pooled_sum_gradient"};
  const std::set<std::string> weighted = {"weighted_sum", "weighted_sum_gradient"};
  check_rows({
      {"three streams, pooled", {{2, 19, 23, 24}, {2, 19, 23, 24}, {2, 19, 23, 24}}, pool, pooled},
      {"one stream, pooled, 5 channels", {{2, 29, 31, 5}}, pool, pooled},
      {"three streams, 64 channels", {{2, 7, 13, 64}, {2, 7, 13, 64}, {2, 7, 13, 64}, {2, 1, 1, 64}, {2, 1, 1, 64}, {2, 1, 1, 64}},
       three, weighted},
      {"three streams, 5 channels", {{3, 17, 19, 5}, {3, 17, 19, 5}, {3, 17, 19, 5}, {3, 1, 1, 5}, {3, 1, 1, 5}, {3, 1, 1, 5}},
       three, weighted},
      {"two streams, one constant", {{1, 9, 11, 8}, CaseInput{1, 9, 11, 8}.constant(), {1, 1, 1, 8}, CaseInput{1, 1, 1, 8}.constant()},
       two, weighted},
      {"two streams, more channels than threads", {{1, 2, 3, 301}, {1, 2, 3, 301}, {1, 1, 1, 301}, {1, 1, 1, 301}}, two, weighted},
  });
}

TEST_CASE("dual attention") {
  const CaseFunction pool = [](const Tensors& x) {
    const AttentionPools pools = attention_pool(x[0]);
    const int64_t N = x[0].size(0), pixels = x[0].size(1) * x[0].size(2);
    return concat({reshape(pools.largest, {N, pixels}), reshape(pools.average, {N, pixels}), reshape(pools.mean, {N, x[0].size(3)})}, 1);
  };
  const std::set<std::string> pooled = {"attention_pool", "attention_pool_gradient"};
  const std::set<std::string> scaled = {"attention_scale", "attention_scale_gradient"};
  const CaseFunction pixels_first = [](const Tensors& x) { return attention_scale(x[0], x[1], x[2], AttentionOrder::pixels_first); };
  const CaseFunction channels_first = [](const Tensors& x) { return attention_scale(x[0], x[1], x[2], AttentionOrder::channels_first); };
  check_rows({
      {"pools, 64 channels", {{2, 9, 11, 64}}, pool, pooled},
      {"pools, 5 channels", {{2, 23, 29, 5}}, pool, pooled},
      {"pools, 24 channels", {{1, 13, 17, 24}}, pool, pooled},
      {"pixels first, 64 channels", {{2, 9, 11, 64}, {2, 9, 11, 1}, {2, 1, 1, 64}}, pixels_first, scaled},
      {"channels first, 5 channels", {{2, 23, 29, 5}, {2, 23, 29, 1}, {2, 1, 1, 5}}, channels_first, scaled},
      {"channels first, 24 channels", {{1, 13, 17, 24}, {1, 13, 17, 1}, {1, 1, 1, 24}}, channels_first, scaled},
  });
}

TEST_CASE("batch norm") {
  const CaseFunction of_batch = [](const Tensors& x) { return batch_norm(x[0], x[1], x[2], 1e-3).y; };
  const CaseFunction given = [](const Tensors& x) {
    return batch_norm(x[0], x[1], x[2], ChannelStatistics{x[3], x[4]}, 1e-5);
  };
  const std::set<std::string> all = {"channel_statistics", "normalize", "normalize_parameter_gradients",
                                     "normalize_gradient"};
  const std::set<std::string> fixed = {"normalize", "normalize_parameter_gradients", "normalize_gradient"};
  check_rows({
      {"16 channels", {{2, 17, 19, 16}, {16}, {16}}, of_batch, all, 5e-5},
      {"5 channels, far from 0", {CaseInput{3, 17, 41, 5}.range(99, 101), {5}, {5}}, of_batch, all, 2e-3, 1},
      {"constant parameters", {{1, 7, 9, 8}, CaseInput{8}.constant(), CaseInput{8}.constant()}, of_batch, all, 5e-5},
      {"given statistics", {{2, 7, 9, 24}, {24}, {24}, CaseInput{24}.constant(), CaseInput{24}.range(0.5, 2).constant()},
       given, fixed},
      {"given statistics, 5 channels", {{2, 17, 29, 5}, {5}, {5}, CaseInput{5}.constant(), CaseInput{5}.range(0.5, 2).constant()},
       given, fixed},
  });
}

TEST_CASE("gradients of activations and biases") {
  const std::set<std::string> slot = {"activation_gradient"};
  const std::vector<CaseInput> wide = {{2, 17, 19, 3}, {16, 1, 1, 3}, {16}}, narrow = {{2, 17, 29, 4}, {5, 1, 1, 4}, {5}};
  check_rows({
      {"relu", wide, [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.activation = Activation::relu}); }, slot},
      {"leaky relu", narrow, [](const Tensors& x) {
         return conv2d(x[0], x[1], x[2], {.activation = Activation::leaky_relu, .negative_slope = 0.2});
       }, slot},
      {"sigmoid", narrow, [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.activation = Activation::sigmoid}); }, slot},
      {"tanh", wide, [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.activation = Activation::tanh}); }, slot},
      {"none", wide, [](const Tensors& x) { return conv2d(x[0], x[1], x[2]); }, slot},
      {"tanh without bias", wide, [](const Tensors& x) {
         return conv2d(x[0], x[1], Tensor(), {.activation = Activation::tanh});
       }, slot},
  });
}
