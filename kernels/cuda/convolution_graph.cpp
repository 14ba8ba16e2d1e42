#include "luxgrad/kernels/cuda/convolution_graph.h"

#include <algorithm>

namespace lux::cuda {
namespace {

// Rows after the picture that the last output still sees; cuDNN rounds the number of outputs down as we do.
int64_t rows_after(int64_t outputs, int64_t stride, int64_t kernel, int64_t size, int64_t before) {
  return std::max<int64_t>(0, (outputs - 1) * stride + kernel - size - before);
}

Walk walk_of(const Conv2dProblem& s) {
  return {
      .stride = s.stride,
      .before = {s.top, s.left},
      .after = {rows_after(s.P, s.stride, s.kH, s.H, s.top), rows_after(s.Q, s.stride, s.kW, s.W, s.left)}};
}

CudnnDataType type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CudnnDataType::f32;
    case DType::bf16:
      return CudnnDataType::bf16;
    case DType::f16:
      return CudnnDataType::f16;
    default:
      fail("cuDNN: expected f32, bf16 or f16, got ", dtype);
  }
}

}  // namespace

std::string GraphRequest::key() const {
  const Conv2dProblem& s = problem;
  const Walk walk = walk_of(s);
  return cat(pass, " ", s.dtype, s.dtype == DType::f32 && math == MathMode::tf32 ? "/tf32" : "", " ", s.N,
             "x", s.H, "x", s.W, "x", s.C, " > ", s.P, "x", s.Q, "x", s.K, " k", s.kH, "x", s.kW, " s",
             s.stride, " p", s.top, ",", walk.after[0], ",", s.left, ",", walk.after[1], " g", s.groups,
             onto ? " onto" : "", bias ? " bias" : "", relu ? " relu" : "");
}

bool has_graph(const Conv2dProblem& s) {
  const bool stored = s.dtype == DType::f32 || s.dtype == DType::bf16 || s.dtype == DType::f16;
  return stored && s.N > 0 && s.H > 0 && s.W > 0 && s.C > 0 && s.P > 0 && s.Q > 0 && s.K > 0 && s.top >= 0 &&
         s.left >= 0;
}

int64_t shown_channels(const Conv2dProblem& s, int64_t channels) {
  return s.groups == 1 && s.dtype != DType::f32 ? (channels + 7) / 8 * 8 : channels;
}

Graph make_graph(const Target& target, const GraphRequest& request) {
  const Conv2dProblem& s = request.problem;
  const Shape sums{s.N, s.P, s.Q, s.K};
  const Walk walk = walk_of(s);
  Graph graph(target.api(), type_of(s.dtype));
  graph.tensor({s.N, s.H, s.W, s.C});
  graph.tensor({s.K, s.kH, s.kW, s.C / s.groups});
  graph.tensor(sums);
  switch (request.pass) {
    case Pass::forward: {
      graph.tensor({1, 1, 1, s.K});
      graph.tensor(sums);
      int steps = request.onto + request.bias + request.relu;
      const auto next = [&] { return steps-- > 0 ? graph.value(sums) : kY; };
      int64_t at = next();
      graph.forward(walk, kX, kWeight, at);
      const auto add = [&](int64_t what) {
        const int64_t sum = next();
        graph.add(at, what, sum);
        at = sum;
      };
      if (request.onto) add(kSums);
      if (request.bias) add(kBias);
      if (request.relu) graph.relu(at, kY);
      break;
    }
    case Pass::input_gradient:
      graph.input_gradient(walk, kY, kWeight, kX);
      break;
    case Pass::weight_gradient:
      graph.weight_gradient(walk, kX, kY, kWeight);
      break;
  }
  graph.finish(target);
  return graph;
}

bool is_allowed(const Engine& engine, const GraphRequest& request) {
  unsigned forbidden = kNondeterministic | kReducedPrecisionReduction;
  if (request.problem.dtype == DType::f32) {
    forbidden |= kDownConvertInputs;
    if (request.math == MathMode::f32) forbidden |= kTensorCore;
  }
  return (engine.numerical & forbidden) == 0 && (engine.behavior & kRuntimeCompilation) == 0;
}

}  // namespace lux::cuda
