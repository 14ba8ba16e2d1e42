// kernels/conv2d: every option against a direct sum, gradients, several inputs, messages.
#include "luxgrad/kernels/conv2d.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "golden.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/gradcheck.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/conv2d_repeated.h"
#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/thread_pool.h"

using namespace lux;

namespace {

Tensor noise(const Shape& shape, uint64_t seed, DType dtype = DType::f64) {
  Tensor wide = empty(shape, {DType::f64, kCpu});
  Generator generator(seed);
  fill_uniform_(wide, -1, 1, generator);
  return wide.to(dtype);
}

// The definition, scattered: every input pixel adds to every output it touches. Returns the sums before bias
// and activation, [N, P, Q, K] in f64.
Tensor by_definition(const Tensor& x, const Tensor& w, const Conv2dOptions& o) {
  const Shape a = x.shape(), b = w.shape();
  const int64_t P = (a[1] + o.padding.top + o.padding.bottom - b[1]) / o.stride + 1;
  const int64_t Q = (a[2] + o.padding.left + o.padding.right - b[2]) / o.stride + 1;
  Tensor y = zeros({a[0], P, Q, b[0]}, x.options());
  const double *const xs = x.data<double>(), *const ws = w.data<double>();
  for (int64_t n = 0; n < a[0]; ++n)
    for (int64_t h = 0; h < a[1]; ++h)
      for (int64_t v = 0; v < a[2]; ++v)
        for (int64_t k = 0; k < b[0]; ++k)
          for (int64_t i = 0; i < b[1]; ++i)
            for (int64_t j = 0; j < b[2]; ++j) {
              const int64_t row = h + o.padding.top - i, column = v + o.padding.left - j;
              const int64_t p = row / o.stride, q = column / o.stride;
              if (row < 0 || column < 0 || row % o.stride != 0 || column % o.stride != 0 || p >= P || q >= Q)
                continue;
              const int64_t group = k / (b[0] / o.groups);
              for (int64_t c = 0; c < b[3]; ++c)
                y.data<double>()[((n * P + p) * Q + q) * b[0] + k] +=
                    xs[((n * a[1] + h) * a[2] + v) * a[3] + group * b[3] + c] *
                    ws[((k * b[1] + i) * b[2] + j) * b[3] + c];
            }
  return y;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto left = a.to_vector(), right = b.to_vector();
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) largest = std::fmax(largest, std::fabs(left[i] - right[i]));
  return largest;
}

struct Geometry {
  Shape x, w;
  Conv2dOptions options;
};

const Geometry kGeometries[] = {
    {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
    {{2, 7, 6, 4}, {6, 3, 3, 4}, {.padding = 1}},
    {{1, 9, 13, 3}, {5, 3, 3, 3}, {}},
    {{2, 7, 6, 4}, {6, 3, 3, 2}, {.stride = 2, .padding = 1, .groups = 2}},
    {{1, 8, 5, 6}, {6, 3, 3, 1}, {.padding = 1, .groups = 6}},
    {{1, 8, 5, 4}, {8, 5, 5, 1}, {.padding = 2, .groups = 4}},
    {{1, 6, 8, 3}, {4, 3, 3, 3}, {.stride = 2, .padding = {0, 1, 0, 1}}},
    {{1, 5, 9, 3}, {4, 4, 2, 3}, {.stride = 3, .padding = {3, 0, 1, 2}}},
    {{1, 9, 9, 2}, {3, 1, 1, 2}, {.stride = 2}},
    {{1, 9, 9, 2}, {3, 1, 1, 2}, {.stride = 3, .padding = {0, 2, 1, 0}}},
    {{1, 1, 1, 5}, {3, 7, 7, 5}, {.padding = 3}},
    {{1, 2, 3, 2}, {3, 5, 4, 2}, {.padding = {4, 5, 6, 3}}},
    {{1, 4, 3, 2}, {3, 4, 3, 2}, {}},
};

}  // namespace

TEST_CASE("the instruction set is the one that the processor, or LUX_ISA, calls for") {
  const cpu::Isa* const isa = cpu::isa();
  const char* const expected = std::getenv("LUX_EXPECT_ISA");
  if (isa != nullptr) MESSAGE("instruction set ", std::string(isa->name));
  if (isa != nullptr && expected != nullptr) CHECK(std::string(isa->name) == expected);
}

TEST_CASE("LUX_KERNELS names the kernels, as long as they take the problem") {
  const char* const wanted = std::getenv("LUX_EXPECT_KERNELS");
  const std::string usual = cpu::isa() == nullptr ? "eigen" : "tiles";
  const auto name = [](const Conv2dProblem& s) { return std::string(conv2d_kernels().pick(kCpu, s).name); };
  Conv2dProblem problem{.N = 1, .H = 8, .W = 8, .C = 4, .P = 8, .Q = 8, .K = 4, .kH = 1, .kW = 1};
  const bool winograd = wanted != nullptr && std::string(wanted) == "winograd";
  CHECK(name(problem) == (wanted == nullptr || winograd ? usual : wanted));
  problem.kH = problem.kW = 3;
  problem.top = problem.left = 1;
  if (winograd) CHECK(name(problem) == "winograd");
  problem.H = problem.W = problem.P = problem.Q = 64;
  problem.C = problem.K = 32;
  const bool has_pairs = cpu::isa() != nullptr && cpu::isa()->pairs != nullptr;
  const std::string fastest = has_pairs && cpu::isa()->pairs->tiles ? "pairs" : "winograd";
  if (cpu::isa() != nullptr) CHECK(name(problem) == (wanted == nullptr ? fastest : wanted));
  problem.precision = Precision::exact;
  if (cpu::isa() != nullptr && fastest != usual) CHECK(name(problem) != "pairs");
  problem.precision = Precision::bf16;
  const std::string coarse = has_pairs && cpu::isa()->pairs->tiles ? "pairs" : "fixed";
  if (has_pairs && wanted == nullptr) CHECK(name(problem) == coarse);
  problem.stride = 2;
  problem.P = problem.Q = 32;
  if (has_pairs && wanted == nullptr) CHECK(name(problem) == coarse);
  problem.kH = problem.kW = 5;
  if (has_pairs && wanted == nullptr) CHECK(name(problem) == "pairs");
  Conv2dProblem half = problem;
  half.dtype = DType::bf16;
  CHECK(name(half) != "eigen");
  const PlainKernels scope;
  CHECK(name(problem) == "plain");
}

TEST_CASE("conv2d is its definition, for every geometry") {
  for (const Geometry& g : kGeometries) {
    CAPTURE(cat(g.x, " ", g.w, " stride ", g.options.stride, " groups ", g.options.groups));
    const Tensor x = noise(g.x, 1), w = noise(g.w, 2);
    CHECK(largest_difference(conv2d(x, w, {}, g.options), by_definition(x, w, g.options)) < 1e-13);
  }
}

TEST_CASE("conv2d adds the bias, then applies the activation") {
  const Tensor x = noise({1, 5, 6, 3}, 1), w = noise({4, 3, 3, 3}, 2), b = noise({4}, 3);
  const auto expect = [&](Activation activation, double slope, double (*f)(double)) {
    auto sums = by_definition(x, w, {}).to_vector();
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = f(sums[i] + b.data<double>()[i % 4]);
    const Tensor y = conv2d(x, w, b, {.activation = activation, .negative_slope = slope});
    CHECK(largest_difference(y, from_vector(sums, y.shape(), {DType::f64, kCpu})) < 1e-13);
  };
  expect(Activation::none, 0.2, [](double v) { return v; });
  expect(Activation::relu, 0.2, [](double v) { return std::fmax(v, 0); });
  expect(Activation::leaky_relu, 0.1, [](double v) { return v < 0 ? 0.1 * v : v; });
  expect(Activation::sigmoid, 0.2, [](double v) { return 1 / (1 + std::exp(-v)); });
  expect(Activation::tanh, 0.2, [](double v) { return std::tanh(v); });
}

TEST_CASE("conv2d passes gradcheck, for every geometry and activation") {
  int turn = 0;
  for (Geometry g : kGeometries) {
    g.options.activation = static_cast<Activation>(turn++ % 5);
    const Tensors inputs{noise(g.x, 1).requires_grad_(), noise(g.w, 2).requires_grad_(),
                         noise({g.w[0]}, 3).requires_grad_()};
    const auto result = gradcheck(
        cat("conv2d ", g.x, " ", g.w),
        [&](const Tensors& in) { return conv2d(in[0], in[1], in[2], g.options); }, inputs);
    CHECK_MESSAGE(result.passed, result.message());
  }
}

TEST_CASE("conv2d reads several inputs as their concatenation, bit for bit, and splits the gradient") {
  const Tensor x = noise({2, 6, 5, 9}, 1), w = noise({4, 3, 3, 9}, 2).requires_grad_();
  Tensors parts;  // channels 0-1, 2-5, 6-8
  for (const auto& [first, width] : {std::pair{0, 2}, {2, 4}, {6, 3}}) {
    Tensor part = empty({2, 6, 5, width}, x.options());
    for (int64_t pixel = 0; pixel < 60; ++pixel)
      for (int64_t c = 0; c < width; ++c)
        part.data<double>()[pixel * width + c] = x.data<double>()[pixel * 9 + first + c];
    parts.push_back(part.requires_grad_());
  }
  const Tensor whole = x.clone().requires_grad_(), v = w.clone().requires_grad_();
  const Conv2dOptions options{.padding = 1, .activation = Activation::tanh};
  const Tensor y = conv2d(parts, w, {}, options), z = conv2d(whole, v, {}, options);
  CHECK(largest_difference(y, z) == 0);
  const Tensor gy = noise(y.shape(), 5);
  backward(y, gy);
  backward(z, gy);
  CHECK(largest_difference(w.grad(), v.grad()) == 0);
  for (const auto& [m, first] : {std::pair{0, 0}, {1, 2}, {2, 6}}) {
    const Tensor gx = parts[static_cast<size_t>(m)].grad();
    double difference = 0;
    for (int64_t pixel = 0; pixel < 60; ++pixel)
      for (int64_t c = 0; c < gx.size(3); ++c)
        difference += std::fabs(gx.data<double>()[pixel * gx.size(3) + c] -
                                whole.grad().data<double>()[pixel * 9 + first + c]);
    CHECK(difference == 0);
  }
}

TEST_CASE("conv2d computes the gradients that are asked for, and only those") {
  const Tensor x = noise({1, 4, 4, 2}, 1), w = noise({3, 3, 3, 2}, 2), b = noise({3}, 3);
  for (int asked = 1; asked < 8; ++asked) {
    const Tensor xs = x.clone().requires_grad_(asked & 1), ws = w.clone().requires_grad_(asked & 2),
                 bs = b.clone().requires_grad_(asked & 4);
    const Tensor y = conv2d(xs, ws, bs, {.activation = Activation::relu});
    backward(y, noise(y.shape(), 4));
    CHECK(xs.grad().defined() == ((asked & 1) != 0));
    CHECK(ws.grad().defined() == ((asked & 2) != 0));
    CHECK(bs.grad().defined() == ((asked & 4) != 0));
  }
}

namespace {

struct Results {
  Tensor y;
  Tensors gradients;  // of the inputs, the weight and the bias
};

// Forward and all gradients; the channels are spread over `parts` inputs.
Results run(const Geometry& g, DType dtype, int64_t parts) {
  Tensors inputs;
  for (int64_t m = 0; m < parts; ++m) {
    const int64_t width = g.x[3] * (m + 1) / parts - g.x[3] * m / parts;
    if (width > 0)
      inputs.push_back(noise(g.x.with(3, width), 10 + static_cast<uint64_t>(m), dtype).requires_grad_());
  }
  const Tensor w = noise(g.w, 2, dtype).requires_grad_(), b = noise({g.w[0]}, 3, dtype).requires_grad_();
  Results results{conv2d(inputs, w, b, g.options), {}};
  backward(results.y, noise(results.y.shape(), 4, dtype));
  for (const Tensor& input : inputs) results.gradients.push_back(input.grad());
  results.gradients.push_back(w.grad());
  results.gradients.push_back(b.grad());
  return results;
}

bool has_kink(Activation activation) {
  return activation == Activation::relu || activation == Activation::leaky_relu;
}

bool same_bits(const Results& a, const Results& b) {
  if (a.y.to_vector() != b.y.to_vector()) return false;
  for (size_t i = 0; i < a.gradients.size(); ++i)
    if (a.gradients[i].to_vector() != b.gradients[i].to_vector()) return false;
  return true;
}

// 3x3 with stride 1: pictures smaller than a tile, every edge cut at every column of a tile, parts of inputs
// and targets that share a vector, several passes over the channels.
const Geometry kSquareKernels[] = {
    {{1, 1, 1, 1}, {1, 3, 3, 1}, {.padding = 1}},
    {{1, 3, 3, 8}, {8, 3, 3, 8}, {.activation = Activation::tanh}},
    {{2, 1, 6, 3}, {24, 3, 3, 3}, {.padding = {1, 1, 0, 2}, .activation = Activation::sigmoid}},
    {{1, 4, 4, 16}, {16, 3, 3, 16}, {.padding = 1, .activation = Activation::relu}},
    {{3, 5, 7, 17}, {9, 3, 3, 17}, {.padding = {2, 0, 1, 2}, .activation = Activation::leaky_relu}},
    {{1, 9, 10, 32}, {40, 3, 3, 32}, {.padding = 2, .activation = Activation::leaky_relu}},
    {{2, 11, 16, 48}, {24, 3, 3, 48}, {.padding = {0, 1, 2, 0}, .activation = Activation::tanh}},
    {{1, 8, 13, 33}, {3, 3, 3, 33}, {.padding = {3, 4, 5, 0}}},
    {{1, 2, 9, 300}, {20, 3, 3, 300}, {.padding = 1, .activation = Activation::relu}},
    // Weights that are larger than caches: past the channels of a pass, and of vectors.
    {{1, 9, 8, 180}, {170, 3, 3, 180}, {.padding = 1}},
    // Groups that fill no vectors, whose channels are parted between inputs, of several passes.
    {{2, 9, 14, 26}, {22, 3, 3, 13}, {.padding = 1, .groups = 2, .activation = Activation::tanh}},
    {{1, 13, 8, 120}, {60, 3, 3, 40}, {.padding = {1, 0, 2, 1}, .groups = 3}},
    {{1, 5, 6, 540}, {18, 3, 3, 270}, {.padding = 1, .groups = 2, .activation = Activation::relu}},
};
// Enough tiles to be cut into ranges.
const Geometry kManyTiles[] = {
    {{1, 62, 102, 40}, {44, 3, 3, 40}, {.padding = 1, .activation = Activation::tanh}},
    {{1, 62, 102, 40}, {44, 3, 3, 20}, {.padding = 1, .groups = 2, .activation = Activation::tanh}},
};

// Shapes of every kind: tails of all register blocks, several passes over the channels, kernels larger than
// the picture, strides that skip pixels, groups, depthwise, one long row for pointwise kernels.
std::vector<Geometry> many_geometries() {
  std::vector<Geometry> all(std::begin(kGeometries), std::end(kGeometries));
  Generator generator(7);
  const auto from = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(generator.below(static_cast<uint64_t>(high - low + 1)));
  };
  for (int turn = 0; turn < 60; ++turn) {
    const int64_t groups = turn % 3 == 0 ? from(1, 4) : 1, kH = from(1, 5),
                  kW = turn % 4 == 0 ? kH : from(1, 5);
    const int64_t depth = from(1, turn % 5 == 0 ? 70 : 9), width = from(1, turn % 7 == 0 ? 70 : 9);
    Geometry g{{from(1, 2), from(1, 14), from(1, 80), depth * groups},
               {width * groups, kH, kW, depth},
               {.stride = from(1, 3),
                .padding = {from(0, 3), from(0, 3), from(0, 3), from(0, 3)},
                .groups = groups}};
    if (turn % 6 == 1) {  // depthwise
      g.options.groups = from(2, 70);
      g.x = g.x.with(3, g.options.groups);
      g.w = {g.options.groups, kH, kW, 1};
    }
    if (turn % 6 == 2) {  // pointwise
      g.w = {width * groups, 1, 1, depth};
      g.options.stride = 1;
      g.options.padding = 0;
    }
    g.options.activation = static_cast<Activation>(turn % 5);
    const Padding& pad = g.options.padding;
    if (g.x[1] + pad.top + pad.bottom >= g.w[1] && g.x[2] + pad.left + pad.right >= g.w[2]) all.push_back(g);
  }
  all.insert(all.end(), std::begin(kSquareKernels), std::end(kSquareKernels));
  all.push_back({{1, 40, 130, 3}, {32, 3, 3, 3}, {.padding = 1}});
  all.push_back({{1, 30, 70, 64}, {24, 3, 3, 64}, {.padding = 1, .activation = Activation::tanh}});
  // Few outputs, and channels that fill vectors: lanes are summed.
  all.push_back({{1, 9, 29, 16}, {3, 3, 3, 16}, {.padding = 1, .activation = Activation::sigmoid}});
  all.push_back({{2, 7, 13, 96}, {4, 5, 3, 48}, {.stride = 2, .padding = 2, .groups = 2}});
  all.push_back({{1, 6, 50, 32}, {2, 1, 1, 32}, {}});
  all.push_back({{1, 11, 14, 64}, {1, 4, 4, 64}, {.padding = {1, 2, 1, 2}}});
  // Gradients in tiles, with even and odd zeros before: edges of tiles, parts of vectors, one and several
  // ranges.
  all.push_back({{1, 21, 38, 40}, {36, 3, 3, 40}, {.stride = 2, .padding = {0, 1, 0, 1}}});
  all.push_back({{1, 33, 131, 36}, {300, 3, 3, 36}, {.stride = 2, .padding = 1}});
  all.push_back({{2, 18, 22, 48}, {70, 4, 4, 48}, {.stride = 2, .padding = 1}});
  all.push_back({{1, 19, 23, 33}, {40, 4, 4, 33}, {.stride = 2, .padding = {2, 3, 0, 1}}});
  all.push_back({{1, 33, 130, 32}, {300, 3, 4, 32}, {.stride = 2, .padding = {3, 2, 2, 0}}});
  // Depthwise with few channels: lanes are pixels.
  all.push_back({{1, 20, 130, 3}, {3, 3, 3, 1}, {.padding = 1, .groups = 3, .activation = Activation::tanh}});
  all.push_back({{2, 9, 3, 2}, {2, 5, 4, 1}, {.padding = {2, 1, 3, 2}, .groups = 2}});
  all.push_back({{1, 12, 70, 7}, {7, 2, 3, 1}, {.groups = 7, .activation = Activation::sigmoid}});
  all.push_back({{1, 9, 10, 3}, {32, 3, 3, 3}, {.stride = 2, .padding = 1}});
  all.push_back({{1, 5, 6, 200}, {110, 3, 3, 200}, {.padding = 1}});
  all.push_back({{1, 6, 7, 3}, {4, 3, 3, 3}, {.stride = 9, .padding = 4}});
  return all;
}

}  // namespace

TEST_CASE("the tuned conv2d agrees with the plain text") {
  const PrecisionScope unrounded(Precision::exact);
  for (const Geometry& g : many_geometries()) {
    for (const DType dtype : {DType::f64, DType::f32}) {
      const std::string name =
          cat(g.x, " ", g.w, " stride ", g.options.stride, " groups ", g.options.groups, dtype);
      CAPTURE(name);
      const Results tuned = run(g, dtype, 2);
      const PlainKernels scope;
      const Results plain = run(g, dtype, 2);
      // Terms of at most 1; the longest sums are those over all pixels.
      const double epsilon = dtype == DType::f64 ? 0x1p-53 : 0x1p-24;
      const auto terms = [&](int64_t n) { return 4 * epsilon * static_cast<double>(n + 8); };
      const int64_t taps = g.w[1] * g.w[2];
      const double forward = terms(taps * g.w[3]);
      CHECK(largest_difference(tuned.y, plain.y) <= forward);
      // The slope of an activation carries the difference of the results into the gradients.
      const double carried = g.options.activation == Activation::none ? 0 : forward;
      if (has_kink(g.options.activation)) continue;  // a sum next to the kink may fall on either side
      for (size_t i = 0; i < plain.gradients.size(); ++i) {
        const int64_t n = i + 2 < plain.gradients.size() ? taps * g.w[0] : plain.y.numel() / plain.y.size(3);
        CHECK(largest_difference(tuned.gradients[i], plain.gradients[i]) <= terms(n) + carried);
      }
    }
  }
}

namespace {

// The norm of the difference over that of the reference.
double relative(const Tensor& tensor, const Tensor& reference) {
  const auto values = tensor.to_vector(), expected = reference.to_vector();
  double error = 0, size = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += (values[i] - expected[i]) * (values[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(error / size);
}

// Channels that are no multiple of a chunk, groups, strides, passes over the channels, strips of one pixel.
const Geometry kPaired[] = {
    {{2, 6, 37, 32}, {32, 3, 3, 32}, {.padding = 1}},
    {{1, 9, 21, 40}, {24, 4, 4, 40}, {.stride = 2, .padding = 1}},
    {{1, 21, 38, 40}, {70, 3, 3, 40}, {.stride = 2, .padding = {0, 1, 0, 1}}},
    {{1, 33, 30, 36}, {33, 3, 3, 36}, {.stride = 2, .padding = 1}},
    {{2, 18, 22, 48}, {70, 4, 4, 48}, {.stride = 2, .padding = 1}},
    {{1, 19, 23, 33}, {40, 4, 4, 33}, {.stride = 2, .padding = {2, 3, 0, 1}}},
    {{1, 7, 9, 26}, {22, 3, 3, 13}, {.padding = 1, .groups = 2}},
    {{2, 5, 50, 300}, {8, 1, 1, 300}, {}},
    {{1, 5, 2, 150}, {40, 3, 3, 150}, {.padding = 1}},
    {{1, 11, 13, 16}, {48, 5, 3, 16}, {.stride = 3, .padding = 2}},
    {{1, 24, 27, 70}, {53, 3, 3, 70}, {.padding = 1}},
    {{1, 12, 19, 80}, {80, 3, 3, 40}, {.padding = 1, .groups = 2}},
    {{1, 12, 12, 9}, {17, 3, 3, 9}, {.padding = 1}},
};

}  // namespace

TEST_CASE("products of bf16 are as near to those of f64 as their precision says") {
  if (cpu::isa() == nullptr || cpu::isa()->pairs == nullptr) {
    MESSAGE("skipped: this processor has no products of bf16");
    return;
  }
  // By themselves, and with gradients: those of fp32 are exact.
  for (const auto& [precision, bound, recorded_bound] :
       {std::tuple{Precision::fp32, 1e-5, 3e-6}, {Precision::bf16, 5e-3, 5e-3}}) {
    const PrecisionScope scope(precision);
    bool coarse = false;
    for (const Geometry& g : kPaired) {
      CAPTURE(cat(g.x, " ", g.w, " ", precision));
      const auto alone = [&](DType dtype) {
        return conv2d(noise(g.x, 1, dtype), noise(g.w, 2, dtype), noise({g.w[0]}, 3, dtype), g.options);
      };
      const double error = relative(alone(DType::f32), alone(DType::f64));
      CHECK(error < bound);
      coarse = coarse || error > bound / 10;
      const Results single = run(g, DType::f32, 2), exact = run(g, DType::f64, 2);
      CHECK(relative(single.y, exact.y) < recorded_bound);
      for (size_t i = 0; i < exact.gradients.size(); ++i)
        CHECK(relative(single.gradients[i], exact.gradients[i]) < recorded_bound);
    }
    const bool used = precision == Precision::bf16 || cpu::isa()->pairs->tiles;
    if (used && std::getenv("LUX_EXPECT_KERNELS") == nullptr) CHECK(coarse);
  }
}

namespace {

Tensor filled(const Shape& shape, double value) { return full(shape, value, {DType::f32, kCpu}); }

// The norm of the error of a 3x3 convolution in bf16, over that of the result.
double error_in_bf16(const Tensor& x, const Tensor& w) {
  const Conv2dOptions options{.padding = 1};
  const Tensor reference = conv2d(x.to(DType::f64), w.to(DType::f64), {}, options);
  const PrecisionScope scope(Precision::bf16);
  return relative(conv2d(x, w, {}, options), reference);
}

}  // namespace

TEST_CASE("3x3 in bf16: no sum overflows, and scales follow pixels and weights") {
  constexpr double kBound = 6e-3;
  const Tensor x = noise({1, 16, 20, 64}, 1, DType::f32), w = noise({40, 3, 3, 64}, 2, DType::f32);
  // The largest sums that there can be: all pixels at their largest, with the signs of the weights.
  CHECK(error_in_bf16(filled({1, 16, 20, 64}, 1), filled({40, 3, 3, 64}, 1)) < kBound);
  CHECK(error_in_bf16(filled({1, 16, 20, 130}, -1e-3), filled({16, 3, 3, 130}, 1e4)) < kBound);
  Tensor checkered = filled({1, 16, 20, 64}, 1);
  for (int64_t i = 0; i < checkered.numel(); ++i) {
    const int64_t pixel = i / 64;
    if ((pixel / 20 + pixel % 20) % 2 == 1) checkered.data<float>()[i] = -1;
  }
  CHECK(error_in_bf16(checkered, filled({40, 3, 3, 64}, 1)) < kBound);
  for (const double scale : {1e-30, 1e-3, 1e3, 1e30}) {
    CAPTURE(scale);
    CHECK(error_in_bf16(mul(x, scale), w) < kBound);
    CHECK(error_in_bf16(x, mul(w, scale)) < kBound);
  }
  for (int64_t column = 0; column < 10; ++column) {
    CAPTURE(column);
    Tensor bright = x.clone();
    for (int64_t i = 0; i < 64; ++i) bright.data<float>()[(5 * 20 + column) * 64 + i] *= 1e3F;
    CHECK(error_in_bf16(bright, w) < kBound);
  }
  // A bright corner takes nothing from the rest: scales are those of a tile.
  Tensor lit = x.clone();
  for (int64_t i = 0; i < 64; ++i) lit.data<float>()[i] = 1e4F;
  const Conv2dOptions options{.padding = 1};
  const auto far = [&](const Tensor& y) { return y.data<float>()[(15 * 20 + 19) * 40]; };
  const PrecisionScope scope(Precision::bf16);
  CHECK(far(conv2d(lit, w, {}, options)) == far(conv2d(x, w, {}, options)));
  // Neither pixels nor weights of zero divide by it.
  for (const double value : conv2d(filled(x.shape(), 0), w, {}, options).to_vector()) CHECK(value == 0);
  for (const double value : conv2d(x, filled(w.shape(), 0), {}, options).to_vector()) CHECK(value == 0);
}

TEST_CASE("3x3 in bf16: what is no number stays none, whatever the activation") {
  const PrecisionScope scope(Precision::bf16);
  const Conv2dOptions options{.padding = 1, .activation = Activation::relu};
  if (cpu::isa() == nullptr || cpu::isa()->pairs == nullptr || cpu::isa()->pairs->tiles ||
      std::getenv("LUX_EXPECT_KERNELS") != nullptr) {
    MESSAGE("skipped: the sums are direct here, where an infinite number keeps its sign");
    return;
  }
  for (const float value :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Tensor x = noise({1, 16, 16, 32}, 1, DType::f32), w = noise({32, 3, 3, 32}, 2, DType::f32);
    Tensor spoiled = x.clone();
    spoiled.data<float>()[(5 * 16 + 5) * 32 + 7] = value;
    const Tensor y = conv2d(spoiled, w, {}, options);
    for (int64_t k = 0; k < 32; ++k) CHECK_FALSE(std::isfinite(y.data<float>()[(5 * 16 + 5) * 32 + k]));
    CHECK(std::isfinite(y.data<float>()[(14 * 16 + 14) * 32]));
    w.data<float>()[(9 * 3 + 1) * 3 * 32] = value;
    const Tensor z = conv2d(x, w, {}, options);
    CHECK_FALSE(std::isfinite(z.data<float>()[(5 * 16 + 5) * 32 + 9]));
    CHECK(std::isfinite(z.data<float>()[(5 * 16 + 5) * 32 + 8]));
  }
}

TEST_CASE("an infinite number spoils its pixel and at most the neighbours, whatever the products") {
  for (const Precision precision : {Precision::exact, Precision::fp32, Precision::bf16}) {
    const PrecisionScope scope(precision);
    Tensor x = noise({1, 1, 40, 16}, 1, DType::f32);
    x.data<float>()[20 * 16] = std::numeric_limits<float>::infinity();
    const Tensor y = conv2d(x, noise({16, 1, 1, 16}, 2, DType::f32), {});
    for (const int64_t pixel : {0, 10, 17, 23, 39}) {
      CAPTURE(pixel);
      CHECK(std::isfinite(y.data<float>()[pixel * 16]));
    }
    CHECK_FALSE(std::isfinite(y.data<float>()[20 * 16]));
  }
}

TEST_CASE("3x3 convolutions in f32 are near those in f64") {
  const PrecisionScope scope(Precision::exact);
  std::vector<Geometry> geometries(std::begin(kSquareKernels), std::end(kSquareKernels));
  if (std::getenv("LUX_EXPECT_ISA") == nullptr) {  // too much for an emulator
    geometries.insert(geometries.end(), std::begin(kManyTiles), std::end(kManyTiles));
  }
  for (Geometry& sums : geometries) {
    CAPTURE(cat(sums.x, " ", sums.w));
    sums.options.activation = Activation::none;
    const Results single = run(sums, DType::f32, 2), exact = run(sums, DType::f64, 2);
    CHECK(relative(single.y, exact.y) < 3e-6);
    for (size_t i = 0; i < exact.gradients.size(); ++i)
      CHECK(relative(single.gradients[i], exact.gradients[i]) < 3e-6);
  }
}

TEST_CASE("conv2d_repeated is conv2d of the enlarged pictures") {
  const Tensor small = noise({2, 3, 4, 5}, 1), middle = noise({2, 6, 8, 4}, 2),
               full = noise({2, 12, 16, 3}, 3);
  const Tensor bias = noise({3}, 4);
  const auto enlarged = [](const Tensor& x) { return resize(x, 12, 16, {.mode = ResizeOptions::nearest}); };
  for (const int64_t side : {1, 3, 5}) {
    CAPTURE(side);
    const Tensor w = noise({3, side, side, 12}, 5);
    const auto expected =
        conv2d({enlarged(small), enlarged(middle), full}, w, bias, {.padding = side / 2}).to_vector();
    const auto got = conv2d_repeated({{small, 2}, {middle, 1}, {full, 0}}, w, bias).to_vector();
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-12));
  }
}

TEST_CASE("a fine convolution is never coarser than fp32") {
  const Tensor x = noise({1, 16, 16, 64}, 1, DType::f32), w = noise({32, 1, 1, 64}, 2, DType::f32);
  const std::vector<double> expected = conv2d(x, w).to_vector();
  const PrecisionScope scope(Precision::bf16);
  CHECK(conv2d(x, w, {}, {.fine = true}).to_vector() == expected);
}

TEST_CASE("conv2d gives the same bits for any threads, alignment, and split of the inputs") {
  const int threads = num_threads();
  std::vector<Geometry> geometries = many_geometries();
  geometries.insert(geometries.end(), std::begin(kManyTiles), std::end(kManyTiles));
  geometries.insert(geometries.end(), std::begin(kPaired), std::end(kPaired));
  for (const Geometry& g : geometries) {
    for (const auto& [dtype, precision] : {std::pair{DType::f32, Precision::fp32},
                                           {DType::f32, Precision::bf16},
                                           {DType::bf16, Precision::fp32}}) {
      const PrecisionScope scope(precision);
      CAPTURE(cat(g.x, " ", g.w, " stride ", g.options.stride, " groups ", g.options.groups));
      set_num_threads(1);
      const Results first = run(g, dtype, 2);
      for (const int count : {2, 3, 5}) {
        set_num_threads(count);
        CHECK(same_bits(run(g, dtype, 2), first));
      }
      memory::set_test_layout({.guard = true, .shift = 24});
      CHECK(same_bits(run(g, dtype, 2), first));
      memory::set_test_layout({});
    }
  }
  set_num_threads(threads);
  CHECK(memory::stats().overruns == 0);
}

TEST_CASE("conv2d gives the outputs and gradients of PyTorch and TensorFlow") {
  for (const char* const name : {"ops_torch", "ops_keras"}) {
    const auto golden = load_golden(name);
    if (!golden) continue;
    int cases = 0;
    for (const auto& row : nlohmann::json::parse(golden->metadata("cases"))) {
      if (row.at("op") != "conv2d") continue;
      ++cases;
      const auto& options = row.at("options");
      const auto pads = options.at("pads").get<std::vector<int64_t>>();
      const auto op = "op." + row.at("name").get<std::string>() + ".";
      const bool biased = golden->has(op + "b");
      for (const auto& [dtype, tolerance] : {std::pair{DType::f64, 1e-9}, {DType::f32, 2e-5}}) {
        const auto leaf = [&](const char* tensor) {
          return golden->at(op + tensor).to(dtype).requires_grad_();
        };
        const Tensor x = leaf("in"), w = leaf("w"), b = biased ? leaf("b") : Tensor();
        const Tensor y = conv2d(x, w, b,
                                {.stride = options.at("stride"),
                                 .padding = {pads[0], pads[1], pads[2], pads[3]},
                                 .groups = options.at("groups")});
        backward(y, golden->at(op + "gy").to(dtype));
        CHECK(difference(op + "out", y, golden->at(op + "out"), tolerance) == "");
        CHECK(difference(op + "gin", x.grad(), golden->at(op + "gin"), tolerance) == "");
        CHECK(difference(op + "gw", w.grad(), golden->at(op + "gw"), tolerance) == "");
        if (biased) CHECK(difference(op + "gb", b.grad(), golden->at(op + "gb"), tolerance) == "");
      }
    }
    CHECK(cases > 10);
  }
}

TEST_CASE("conv2d stores bf16 and f16, and computes in float") {
  const Tensor x = noise({1, 6, 7, 5}, 1), w = noise({4, 3, 3, 5}, 2), b = noise({4}, 3);
  for (const auto& [dtype, bound] : {std::pair{DType::bf16, 0x1p-8}, {DType::f16, 0x1p-11}}) {
    const Tensor xs = x.to(dtype), ws = w.to(dtype), bs = b.to(dtype);
    const Tensor y = conv2d(xs, ws, bs, {.padding = 1});
    CHECK(y.dtype() == dtype);
    const Tensor exact = conv2d(xs.to(DType::f64), ws.to(DType::f64), bs.to(DType::f64), {.padding = 1});
    CHECK(largest_difference(y, exact) < 16 * bound);  // results are below 16, rounded once
  }
}

TEST_CASE("conv2d says what does not fit") {
  const auto message = [](const Tensors& x, const Tensor& w, const Tensor& b = {},
                          const Conv2dOptions& o = {}) {
    try {
      conv2d(x, w, b, o);
      return std::string("no error");
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  const Tensor x = zeros({1, 8, 8, 3}), w = zeros({8, 3, 3, 3});
  CHECK(message({x}, zeros({8, 3, 3, 4})) ==
        "conv2d: expected input with 4 channels for weight [8, 3, 3, 4], got [1, 8, 8, 3]");
  CHECK(message({x, x}, zeros({8, 3, 3, 4})) ==
        "conv2d: expected input with 4 channels for weight [8, 3, 3, 4], got [1, 8, 8, 3] and [1, 8, 8, 3]");
  CHECK(message({x}, w, {}, {.groups = 2}) ==
        "conv2d: expected input with 6 channels for weight [8, 3, 3, 3] in 2 groups, got [1, 8, 8, 3]");
  CHECK(message({x}, w, {}, {.groups = 3}) ==
        "conv2d: expected groups that divide the 8 outputs of weight [8, 3, 3, 3], got 3");
  CHECK(message({x, zeros({1, 8, 7, 3})}, w) ==
        "conv2d: expected inputs that differ in channels only, got [1, 8, 8, 3] and [1, 8, 7, 3]");
  CHECK(message({x}, zeros({8, 3, 3, 3}, {DType::f64, kCpu})) ==
        "conv2d: expected one dtype, got input f32 and weight f64");
  CHECK(message({x}, w, zeros({8}, {DType::bf16, kCpu})) ==
        "conv2d: expected one dtype, got bias bf16 and weight f32");
  CHECK(message({x}, w, zeros({4})) == "conv2d: expected bias [8] for weight [8, 3, 3, 3], got [4]");
  CHECK(message({zeros({8, 8, 3})}, w) == "conv2d: expected an input [N, H, W, C], got [8, 8, 3]");
  CHECK(message({x}, zeros({8, 3, 3})) ==
        "conv2d: expected a weight [out, kH, kW, in/groups], got [8, 3, 3]");
  CHECK(message({zeros({1, 2, 8, 3})}, w) ==
        "conv2d: expected an input of at least 3x3 pixels with its padding for weight [8, 3, 3, 3], got 2x8 "
        "from "
        "[1, 2, 8, 3]");
  CHECK(message({x}, w, {}, {.stride = 0}) == "conv2d: expected a stride of at least 1, got 0");
  CHECK(message({x}, w, {}, {.padding = -1}) == "conv2d: expected padding of at least 0, got -1");
  CHECK(message({x}, w, {}, {.negative_slope = -0.5}) ==
        "conv2d: expected a negative_slope of at least 0, got -0.5");
  CHECK(message({}, w) == "conv2d: expected 1 to 8 inputs, got 0");
  CHECK(message({Tensor()}, w) == "conv2d: expected an input [N, H, W, C], got an undefined tensor");
  CHECK(message({x}, Tensor()) ==
        "conv2d: expected a weight [out, kH, kW, in/groups], got an undefined tensor");
}
