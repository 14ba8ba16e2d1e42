// Every tuned kernel for the GPU, run by the emulator in three orders of its threads, agrees with the plain
// text of its operator; its results do not depend on the order, and nothing is written outside of them. The
// sizes are awkward: no multiples of anything, several blocks, channels for wide accesses and for single
// ones.
#include <doctest/doctest.h>

#include <set>

#include "cuda_emulator.h"
#include "error_of.h"
#include "golden.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/batch_norm.h"
#include "luxgrad/kernels/bytes.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/kernels/cuda/columns.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/reference_guided.h"
#include "luxgrad/losses/zero_dce.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/optimizer.h"
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
  std::set<std::string> idle = {};  // slots that must leave it to others
};

/// While it lives, the CPU's operators run the kernels of the GPU.
class EmulatedDevice {
 public:
  explicit EmulatedDevice(emulator::Order order) : convolutions_(conv2d_kernels()) {
    emulator::set_order(order, 3);
    cuda::fill(slots(), Device::Type::cpu);
    cuda::add_depthwise(conv2d_kernels(), Device::Type::cpu);
  }
  ~EmulatedDevice() {
    slots() = {};
    conv2d_kernels() = convolutions_;
    emulator::set_order(emulator::Order::forward);
  }
  EmulatedDevice(const EmulatedDevice&) = delete;
  EmulatedDevice& operator=(const EmulatedDevice&) = delete;

 private:
  KernelTable<Conv2dKernels> convolutions_;  // of the CPU
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

// The slots of the row take it, and no idle one.
Tensors evaluate_emulated(const KernelCase& row, const Tensors& values, emulator::Order order) {
  const EmulatedDevice device(order);
  const Layout guarded({.guard = true});
  const cuda::FloorMeter meter;
  Tensors all = evaluate(row, values);
  for (const std::string& slot : row.slots) CHECK_MESSAGE(meter.moved().contains(slot), slot, " did not run");
  for (const std::string& slot : row.idle) CHECK_MESSAGE(!meter.moved().contains(slot), slot, " ran");
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
      const std::string text =
          difference(k == 0 ? "result" : cat("gradient of input ", k - 1), first[k].to(DType::f64),
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
      {"eight steps",
       {picture({2, 17, 19, 3}), {2, 17, 19, 24}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); },
       both},
      {"eight steps, of a constant picture",
       {picture({1, 3, 5, 3}).constant(), {1, 3, 5, 24}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); },
       both},
      {"eight steps, constant maps",
       {picture({1, 3, 5, 3}), CaseInput{1, 3, 5, 24}.constant()},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); },
       both},
      {"three steps",
       {picture({1, 7, 41, 3}), {1, 7, 41, 9}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1], 3); },
       both},
      {"one map",
       {picture({3, 7, 13, 3}), {3, 7, 13, 3}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1]); },
       both},
      {"sixteen steps",
       {picture({1, 5, 7, 3}), {1, 5, 7, 48}},
       [](const Tensors& x) { return curve_iterations(x[0], x[1], 16); },
       both},
  });
}

TEST_CASE("the curve of a picture's rows, wherever they begin") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t maps : {24, 3}) {
      CAPTURE(std::string(name_of(dtype)));
      CAPTURE(maps);
      const Tensors values = draw({picture({1, 9, 35, 3}), {1, 9, 35, maps}}, dtype);
      const EmulatedDevice device(emulator::Order::random);
      const Tensor whole = curve_iterations(values[0], values[1]);
      const auto rows = [](const Tensor& x) {
        const int64_t row = x.size(2) * x.size(3) * static_cast<int64_t>(size_of(x.dtype()));
        return Tensor(x.storage(), {1, 8, x.size(2), x.size(3)}, x.dtype(), row);
      };
      CHECK(same_bits(curve_iterations(rows(values[0]), rows(values[1])), rows(whole)));
    }
  }
}

TEST_CASE("a launch that fails names the kernel, its threads and the operator") {
  const cuda::Driver refusing = {.start = [](void**) -> int { return 0; },
                                 .text_of = [](int) { return "invalid argument"; },
                                 .allocate = [](void**, size_t, void*) -> int { return 1; },
                                 .release = [](void*, void*) -> int { return 1; },
                                 .trim = []() -> int { return 0; },
                                 .copy = [](void*, const void*, size_t, void*) -> int { return 1; },
                                 .synchronize = [](void*) -> int { return 0; },
                                 .last_error = []() -> int { return 1; },
                                 .out_of_memory = 2};
  const Tensors values = draw({picture({1, 5, 70, 3}), {1, 5, 70, 24}}, DType::f32);
  const EmulatedDevice device(emulator::Order::forward);
  cuda::set_driver(&refusing);
  const std::string error = error_of([&] { curve_iterations(values[0], values[1]); });
  cuda::set_driver(cuda::runtime());
  INFO(error);
  CHECK(error.starts_with("cuda: running lux::cuda::"));
  CHECK(error.ends_with(
      "::EightMaps<float> > for 512 threads, in curve_iterations [1, 5, 70, 3] [1, 5, 70, 24]: "
      "invalid argument"));
}

TEST_CASE("a slot says what it must move: the floor of eight steps is 120 and 216 bytes per pixel and more") {
  const KernelCase row{"curve",
                       {picture({1, 5, 7, 3}), {1, 5, 7, 24}},
                       [](const Tensors& x) { return curve_iterations(x[0], x[1]); },
                       {}};
  const EmulatedDevice device(emulator::Order::forward);
  const cuda::FloorMeter meter;
  evaluate(row, draw(row.inputs, DType::f32));
  CHECK(meter.moved().at("curve").bytes == 35 * 120);
  CHECK(meter.moved().at("curve_gradient").bytes == 35 * (216 + 12));  // with the gradient of the picture
  CHECK(meter.moved().at("curve").calls == 1);
}

TEST_CASE("selective kernels") {
  const CaseFunction pool = [](const Tensors& x) { return pooled_sum(x); };
  const CaseFunction three = [](const Tensors& x) {
    return weighted_sum({x[0], x[1], x[2]}, {x[3], x[4], x[5]});
  };
  const CaseFunction two = [](const Tensors& x) { return weighted_sum({x[0], x[1]}, {x[2], x[3]}); };
  const std::set<std::string> pooled = {"pooled_sum", "pooled_sum_gradient"};
  const std::set<std::string> weighted = {"weighted_sum", "weighted_sum_gradient"};
  check_rows({
      {"three streams, pooled", {{2, 19, 23, 24}, {2, 19, 23, 24}, {2, 19, 23, 24}}, pool, pooled},
      {"one stream, pooled, 5 channels", {{2, 29, 31, 5}}, pool, pooled},
      {"three streams, 64 channels",
       {{2, 7, 13, 64}, {2, 7, 13, 64}, {2, 7, 13, 64}, {2, 1, 1, 64}, {2, 1, 1, 64}, {2, 1, 1, 64}},
       three,
       weighted},
      {"three streams, 5 channels",
       {{3, 17, 19, 5}, {3, 17, 19, 5}, {3, 17, 19, 5}, {3, 1, 1, 5}, {3, 1, 1, 5}, {3, 1, 1, 5}},
       three,
       weighted},
      {"two streams, one constant",
       {{1, 9, 11, 8}, CaseInput{1, 9, 11, 8}.constant(), {1, 1, 1, 8}, CaseInput{1, 1, 1, 8}.constant()},
       two,
       weighted},
      {"two streams, more channels than threads",
       {{1, 2, 3, 301}, {1, 2, 3, 301}, {1, 1, 1, 301}, {1, 1, 1, 301}},
       two,
       weighted},
  });
}

TEST_CASE("dual attention") {
  const CaseFunction pool = [](const Tensors& x) {
    const AttentionPools pools = attention_pool(x[0]);
    const int64_t N = x[0].size(0), pixels = x[0].size(1) * x[0].size(2);
    return concat({reshape(pools.largest, {N, pixels}), reshape(pools.average, {N, pixels}),
                   reshape(pools.mean, {N, x[0].size(3)})},
                  1);
  };
  const std::set<std::string> pooled = {"attention_pool", "attention_pool_gradient"};
  const std::set<std::string> scaled = {"attention_scale", "attention_scale_gradient"};
  const CaseFunction pixels_first = [](const Tensors& x) {
    return attention_scale(x[0], x[1], x[2], AttentionOrder::pixels_first);
  };
  const CaseFunction channels_first = [](const Tensors& x) {
    return attention_scale(x[0], x[1], x[2], AttentionOrder::channels_first);
  };
  check_rows({
      {"pools, 64 channels", {{2, 9, 11, 64}}, pool, pooled},
      {"pools, 5 channels", {{2, 23, 29, 5}}, pool, pooled},
      {"pools, 24 channels", {{1, 13, 17, 24}}, pool, pooled},
      {"pixels first, 64 channels", {{2, 9, 11, 64}, {2, 9, 11, 1}, {2, 1, 1, 64}}, pixels_first, scaled},
      {"channels first, 5 channels", {{2, 23, 29, 5}, {2, 23, 29, 1}, {2, 1, 1, 5}}, channels_first, scaled},
      {"channels first, 24 channels",
       {{1, 13, 17, 24}, {1, 13, 17, 1}, {1, 1, 1, 24}},
       channels_first,
       scaled},
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
      {"5 channels, far from 0", {CaseInput{3, 17, 41, 5}.range(99, 101), {5}, {5}}, of_batch, all, 2e-3},
      {"constant parameters",
       {{1, 7, 9, 8}, CaseInput{8}.constant(), CaseInput{8}.constant()},
       of_batch,
       all,
       5e-5},
      {"given statistics",
       {{2, 7, 9, 24}, {24}, {24}, CaseInput{24}.constant(), CaseInput{24}.range(0.5, 2).constant()},
       given,
       fixed},
      {"given statistics, 5 channels",
       {{2, 17, 29, 5}, {5}, {5}, CaseInput{5}.constant(), CaseInput{5}.range(0.5, 2).constant()},
       given,
       fixed},
  });
}

TEST_CASE("gradients of activations and biases") {
  const std::set<std::string> slot = {"activation_gradient"};
  const std::vector<CaseInput> wide = {{2, 17, 19, 3}, {16, 1, 1, 3}, {16}},
                               narrow = {{2, 17, 29, 4}, {5, 1, 1, 4}, {5}};
  check_rows({
      {"relu", wide,
       [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.activation = Activation::relu}); }, slot},
      {"leaky relu", narrow,
       [](const Tensors& x) {
         return conv2d(x[0], x[1], x[2], {.activation = Activation::leaky_relu, .negative_slope = 0.2});
       },
       slot},
      {"sigmoid", narrow,
       [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.activation = Activation::sigmoid}); }, slot},
      {"tanh", wide,
       [](const Tensors& x) { return conv2d(x[0], x[1], x[2], {.activation = Activation::tanh}); }, slot},
      {"none", wide, [](const Tensors& x) { return conv2d(x[0], x[1], x[2]); }, slot},
      {"tanh without bias", wide,
       [](const Tensors& x) { return conv2d(x[0], x[1], Tensor(), {.activation = Activation::tanh}); }, slot},
  });
}

TEST_CASE("what is left to do with the sums of an engine") {
  struct Row {
    int64_t K, width;
    bool bias;
    Activation activation;
    bool in_place;
  };
  for (const Row& row :
       {Row{24, 24, false, Activation::tanh, true}, Row{24, 24, true, Activation::tanh, true},
        Row{3, 8, true, Activation::sigmoid, false}, Row{3, 3, false, Activation::relu, true},
        Row{16, 24, false, Activation::leaky_relu, false}, Row{5, 5, true, Activation::none, true}}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(row.K);
      CAPTURE(std::string(name_of(dtype)));
      const Tensors drawn = draw({{2, 7, 13, row.width}, {row.K}}, dtype);
      const auto finished = [&] {
        const Tensor sums = drawn[0].clone(),
                     y = row.in_place ? sums : empty({2, 7, 13, row.K}, sums.options());
        cuda::finish_sums({row.bias ? drawn[1] : Tensor(), row.activation, 0.2}, sums, row.width, y);
        return y;
      };
      const Tensor expected = finished();
      for (const emulator::Order order : {emulator::Order::forward, emulator::Order::random}) {
        const EmulatedDevice device(order);
        const Layout guarded({.guard = true});
        const cuda::FloorMeter meter;
        CHECK(same_bits(finished(), expected));
        CHECK(meter.moved().contains("epilogue"));
      }
    }
  }
}

namespace {

// All four terms, with gradients of different sizes.
Tensor terms_of(const Tensors& x, ZeroDceMode mode, int64_t patch, int iterations = 8) {
  const ZeroDceLoss loss =
      zero_dce_loss_of_curves(x[0], x[1], iterations, {.mode = mode, .exp_patch = patch});
  const auto row = [](const Tensor& scalar) { return reshape(scalar, {1}); };
  return concat({row(loss.tv), row(loss.spa), row(loss.col), row(loss.exp), row(loss.total)}, 0);
}

std::vector<CaseInput> pictures_and_curves(int64_t N, int64_t H, int64_t W, int64_t C) {
  return {picture({N, H, W, 3}).constant(), {N, H, W, C}};
}

/// The first `inputs` of x, with the weight and, where there is one, the bias that follow.
Tensor depthwise(const Tensors& x, size_t inputs, const Padding& padding) {
  const Tensors of(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(inputs));
  const Tensor bias = x.size() > inputs + 1 ? x[inputs + 1] : Tensor();
  return conv2d(of, x[inputs], bias, {.padding = padding, .groups = x[inputs].size(0)});
}

}  // namespace

TEST_CASE("depthwise convolutions") {
  const CaseFunction one = [](const Tensors& x) { return depthwise(x, 1, 1); };
  const CaseFunction uneven = [](const Tensors& x) { return depthwise(x, 1, {2, 0, 3, 1}); };
  const CaseFunction unpadded = [](const Tensors& x) { return depthwise(x, 1, {}); };
  const CaseFunction two = [](const Tensors& x) { return depthwise(x, 2, 1); };
  const CaseFunction three = [](const Tensors& x) { return depthwise(x, 3, 1); };
  const std::set<std::string> all = {"depthwise", "depthwise_input_gradient", "depthwise_weight_gradient"};
  check_rows({
      {"24 channels", {{2, 13, 41, 24}, {24, 3, 3, 1}, {24}}, one, all},
      {"3 channels", {{2, 9, 90, 3}, {3, 3, 3, 1}, {3}}, one, all},
      {"5 channels, without zeros around", {{1, 7, 6, 5}, {5, 3, 3, 1}, {5}}, unpadded, all},
      {"uneven zeros, without a bias", {{3, 5, 4, 8}, {8, 3, 3, 1}}, uneven, all},
      {"one pixel", {{1, 1, 1, 8}, {8, 3, 3, 1}, {8}}, one, all},
      {"more channels than a block has", {{1, 5, 3, 296}, {296, 3, 3, 1}, {296}}, one, all},
      {"more channels than a block has, one by one", {{1, 5, 3, 301}, {301, 3, 3, 1}, {301}}, one, all},
      {"two inputs", {{1, 6, 11, 16}, {1, 6, 11, 8}, {24, 3, 3, 1}, {24}}, two, all},
      {"three inputs, two of them constant, at odd places",
       {CaseInput{1, 6, 5, 3}.constant(),
        {1, 6, 5, 8},
        CaseInput{1, 6, 5, 5}.constant(),
        {16, 3, 3, 1},
        {16}},
       three,
       all},
      {"constant weights",
       {{1, 10, 5, 8}, CaseInput{8, 3, 3, 1}.constant()},
       one,
       {"depthwise", "depthwise_input_gradient"}},
      {"a constant picture",
       {CaseInput{2, 10, 5, 8}.constant(), {8, 3, 3, 1}},
       one,
       {"depthwise", "depthwise_weight_gradient"}},
  });
}

TEST_CASE("rows of a depthwise convolution have the bits of the whole") {
  const EmulatedDevice device(emulator::Order::forward);
  Tensor x = empty({1, 23, 10, 8}), weight = empty({8, 3, 3, 1});
  Generator generator(1);
  fill_uniform_(x, -1, 1, generator);
  fill_uniform_(weight, -1, 1, generator);
  const auto convolved = [&](int64_t begin, int64_t end, const Padding& padding) {
    const Tensor rows = empty({1, end - begin, 10, 8});
    copy_(rows, from_vector(
                    [&] {
                      const std::vector<double> all = x.to_vector();
                      return std::vector<double>(all.begin() + begin * 80, all.begin() + end * 80);
                    }(),
                    rows.shape()));
    return conv2d(rows, weight, Tensor(), {.padding = padding, .groups = 8}).to_vector();
  };
  const std::vector<double> whole = convolved(0, 23, 1);
  for (int64_t first = 0; first + 5 <= 23; ++first) {  // five rows from each on
    const int64_t begin = first == 0 ? 0 : first - 1, end = first + 5 == 23 ? 23 : first + 6;
    const std::vector<double> rows =
        convolved(begin, end, {first == 0 ? 1 : 0, first + 5 == 23 ? 1 : 0, 1, 1});
    CHECK(std::equal(rows.begin(), rows.end(), whole.begin() + first * 80));
  }
}

TEST_CASE("the curve and its zero-reference losses as one head") {
  const std::set<std::string> head = {"zero_reference", "zero_reference_gradient"};
  check_rows({
      {"official", pictures_and_curves(2, 53, 37, 24),
       [](const Tensors& x) { return terms_of(x, ZeroDceMode::official, 16); }, head, 2e-5, 2e-2},
      {"keras, rows of whole packs", pictures_and_curves(1, 35, 72, 24),
       [](const Tensors& x) { return terms_of(x, ZeroDceMode::keras, 16); }, head, 2e-5, 2e-2},
      {"paper, one map", pictures_and_curves(3, 17, 34, 3),
       [](const Tensors& x) { return terms_of(x, ZeroDceMode::paper, 8); }, head, 2e-5, 2e-2},
      {"patches that regions do not make up",
       pictures_and_curves(1, 19, 23, 24),
       [](const Tensors& x) { return terms_of(x, ZeroDceMode::official, 6); },
       {"curve", "curve_gradient"},
       2e-5,
       1e-2,
       head},
      {"three steps",
       pictures_and_curves(1, 19, 23, 9),
       [](const Tensors& x) { return terms_of(x, ZeroDceMode::official, 16, 3); },
       {"curve", "curve_gradient"},
       2e-5,
       1e-2,
       head},
  });
}

TEST_CASE("losses of pixels") {
  const std::set<std::string> both = {"pixel_loss", "pixel_loss_gradient"};
  const std::vector<CaseInput> large = {{2, 61, 83, 3}, {2, 61, 83, 3}},
                               small = {{1, 1, 1, 3}, CaseInput{1, 1, 1, 3}.constant()};
  check_rows({
      {"l1", large, [](const Tensors& x) { return l1_loss(x[0], x[1]); }, both},
      {"mse", large, [](const Tensors& x) { return mse_loss(x[0], x[1]); }, both},
      {"charbonnier", large, [](const Tensors& x) { return charbonnier(x[0], x[1]); }, both},
      {"charbonnier of three numbers", small, [](const Tensors& x) { return charbonnier(x[0], x[1], 0.1); },
       both},
  });
}

TEST_CASE("distances of hue and saturation") {
  const auto distances = [](const Tensors& x) {
    const HsvDistance of = hsv_distance(x[0], x[1]);
    return of.hue + 2.0 * of.saturation;
  };
  const auto pair = [](std::initializer_list<int64_t> sizes) {
    return std::vector<CaseInput>(2, CaseInput(sizes).range(0.1, 1));
  };
  const std::set<std::string> both = {"hsv_distance", "hsv_distance_gradient"};
  const std::vector<CaseInput> black = {CaseInput{1, 4, 4, 3}.range(0, 0),
                                        CaseInput{1, 4, 4, 3}.range(0.1, 1)};
  check_rows({
      {"colours one by one", pair({2, 61, 83, 3}), distances, both, 2e-5, 3e-2},
      {"wide accesses", pair({3, 80, 120, 3}), distances, both, 2e-5, 3e-2},
      {"two colours",
       {CaseInput{1, 1, 2, 3}.range(0.1, 1).constant(), CaseInput{1, 1, 2, 3}.range(0.1, 1)},
       distances,
       both,
       2e-5,
       3e-2},
      {"beside black", black, distances, both, 2e-5, 3e-2},
  });
}

TEST_CASE("pooling") {
  const std::set<std::string> largest = {"max_pool2d", "max_pool2d_gradient"};
  const std::set<std::string> average = {"avg_pool2d", "avg_pool2d_gradient"};
  const std::vector<CaseInput> wide = {{2, 13, 11, 16}}, narrow = {{2, 13, 11, 5}};
  check_rows({
      {"largest of 2x2", wide, [](const Tensors& x) { return max_pool2d(x[0], {}); }, largest},
      {"largest of 3x3, overlapping, padded", narrow,
       [](const Tensors& x) {
         return max_pool2d(x[0], {.kernel_size = 3, .stride = 2, .padding = {1, 1, 1, 1}});
       },
       largest},
      {"largest, beyond the edge", wide,
       [](const Tensors& x) { return max_pool2d(x[0], {.ceil_mode = true}); }, largest},
      {"average of 2x2", wide, [](const Tensors& x) { return avg_pool2d(x[0], {}); }, average},
      {"average of 3x3, overlapping, padded", narrow,
       [](const Tensors& x) {
         return avg_pool2d(
             x[0], {.kernel_size = 3, .stride = 2, .padding = {1, 1, 0, 1}, .count_include_pad = false});
       },
       average},
  });
}

TEST_CASE("a NaN is larger than anything, as by the plain text") {
  const Tensor values = draw({picture({1, 6, 8, 8})}, DType::f32)[0];
  for (const int64_t place : {0, 37, 200, 383}) values.data<float>()[place] = std::nanf("");
  // Of the largest: whether they are NaN, and 1 at the pixels that they come from.
  const auto found = [&] {
    const Tensor x = values.clone().requires_grad_();
    const Tensor pooled = max_pool2d(x, {});
    backward(pooled, full(pooled.shape(), 1));
    std::vector<double> all = x.grad().to_vector();
    for (const Tensor& largest : {pooled, attention_pool(values).largest}) {
      for (const double value : largest.detach().to_vector()) all.push_back(std::isnan(value) ? 1 : 0);
    }
    return all;
  };
  const std::vector<double> expected = [&] {
    const PlainKernels plain;
    return found();
  }();
  const EmulatedDevice device(emulator::Order::forward);
  const cuda::FloorMeter meter;
  CHECK(found() == expected);
  for (const char* slot : {"max_pool2d", "max_pool2d_gradient", "attention_pool"})
    CHECK(meter.moved().contains(slot));
}

TEST_CASE("resizing") {
  const std::set<std::string> both = {"resize", "resize_gradient"};
  check_rows({
      {"twice as large", {{2, 7, 9, 16}}, [](const Tensors& x) { return resize(x[0], 14, 18); }, both},
      {"smaller, corners in place",
       {{2, 17, 23, 5}},
       [](const Tensors& x) { return resize(x[0], 7, 11, {.align_corners = true}); },
       both},
      {"nearest",
       {{1, 7, 9, 8}},
       [](const Tensors& x) { return resize(x[0], 19, 13, {.mode = ResizeOptions::nearest}); },
       both},
      {"from one pixel", {{1, 1, 1, 3}}, [](const Tensors& x) { return resize(x[0], 5, 4); }, both},
  });
}

TEST_CASE("joining and cutting") {
  const std::set<std::string> both = {"copy_runs", "widen_runs"};
  check_rows({
      {"channels, wide",
       {{2, 7, 9, 16}, {2, 7, 9, 8}},
       [](const Tensors& x) { return narrow(concat(x, 3), 3, 8, 16); },
       both},
      {"channels, awkward",
       {{2, 7, 9, 3}, {2, 7, 9, 5}},
       [](const Tensors& x) { return narrow(concat(x, 3), 3, 2, 4); },
       both},
      {"rows", {{2, 3, 4}, {2, 1, 4}}, [](const Tensors& x) { return narrow(concat(x, 1), 1, 1, 2); }, both},
  });
}

TEST_CASE("bytes become numbers and numbers bytes") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    CAPTURE(std::string(name_of(dtype)));
    const Tensor bytes = empty({1, 19, 29, 3}, {DType::u8, kCpu});
    for (int64_t i = 0; i < bytes.numel(); ++i) bytes.data<uint8_t>()[i] = static_cast<uint8_t>(i * 7);
    const Tensor numbers = from_bytes(bytes, dtype);
    CHECK(same_bits(numbers.to(DType::f32).to(dtype), numbers));
    if (dtype == DType::f32) CHECK(same_bits(to_bytes(numbers), bytes));
    const Tensor wild = draw({CaseInput{1, 19, 29, 3}.range(-1, 3)}, dtype)[0];
    const Tensor rounded = to_bytes(wild);
    CHECK(rounded.data<uint8_t>()[0] ==
          std::clamp(std::floor(wild.to(DType::f64).data<double>()[0] * 255 + 0.5), 0.0, 255.0));
    const int64_t overruns = memory::stats().overruns;
    {
      const EmulatedDevice device(emulator::Order::random);
      const Layout guarded({.guard = true});
      const cuda::FloorMeter meter;
      CHECK(same_bits(from_bytes(bytes, dtype), numbers));
      CHECK(same_bits(to_bytes(wild), rounded));
      CHECK(meter.moved().size() == 2);
    }
    CHECK(memory::stats().overruns == overruns);
  }
}

namespace {

// Two steps on more tensors than a launch takes, one of them without a gradient; returns all parameters and
// moments. Between them is one that shall not be done.
Tensors two_steps(const AdamOptions& options) {
  std::vector<NamedTensor> parameters;
  for (int64_t i = 0; i < 70; ++i) {
    const Tensor values = draw({i == 3 ? CaseInput{9001} : CaseInput{i % 7 + 1}}, DType::f32)[0];
    parameters.push_back({cat("p", i), values.clone().requires_grad_()});
  }
  Adam adam(parameters, options);
  for (int step = 0; step < 2; ++step) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const Tensor& tensor = parameters[i].tensor;
      if (i != 5) tensor.set_grad(draw({CaseInput{tensor.numel()}.range(-0.1, 0.2)}, DType::f32)[0]);
    }
    const Tensor factors = adam.factors();
    factors.data<float>()[factors.numel() - 1] = 0;
    adam.write(factors);
    adam.step();
  }
  Tensors all;
  for (const auto& [name, tensor] : parameters) all.push_back(tensor.detach());
  for (const auto& [name, tensor] : adam.state_dict()) all.push_back(tensor);
  return all;
}

}  // namespace

TEST_CASE("Adam steps all parameters at once") {
  for (const AdamOptions& options : {AdamOptions{}, AdamOptions{.weight_decay = 0.1, .decoupled = true},
                                     AdamOptions{.weight_decay = 0.1, .form = AdamForm::keras}}) {
    const Tensors expected = two_steps(options);
    const int64_t overruns = memory::stats().overruns;
    {
      const EmulatedDevice device(emulator::Order::random);
      const Layout guarded({.guard = true});
      const cuda::FloorMeter meter;
      const Tensors actual = two_steps(options);
      CHECK(meter.moved().at("adam").calls == 2 * 2 * 69);
      for (size_t i = 0; i < expected.size(); ++i) {
        const std::string text =
            difference(cat("tensor ", i), actual[i].to(DType::f64), expected[i].to(DType::f64), 1e-6);
        CHECK_MESSAGE(text.empty(), text);
      }
    }
    CHECK(memory::stats().overruns == overruns);
  }
}
