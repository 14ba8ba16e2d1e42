// What a convolution asks of cuDNN: one graph per pass, the key that a plan is stored under, and which of the
// offered engines may run it.
#pragma once

#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/cuda/cudnn_graph.h"

namespace lux::cuda {

enum class Pass : uint8_t { forward, input_gradient, weight_gradient };
inline void append(std::string& text, Pass pass) {
  text += pass == Pass::forward          ? "forward"
          : pass == Pass::input_gradient ? "input_gradient"
                                         : "weight_gradient";
}

/// How products of f32 are computed: exactly, or by tensor cores with ten bits of the mantissa. bf16 and f16
/// always use tensor cores where they can, with sums in f32.
enum class MathMode : uint8_t { f32, tf32 };

/// One graph. `problem` has the channels that cuDNN sees.
struct GraphRequest {
  Pass pass = Pass::forward;
  Conv2dProblem problem;
  MathMode math = MathMode::f32;
  // Forward only: what happens to the sums, in this order. `onto`: sums of before are added.
  bool onto = false, bias = false, relu = false;

  /// `forward bf16 1x64x64x8 > 64x64x32 k3x3 s1 p1,1,1,1 g1 bias relu`
  std::string key() const;
};

/// The ids of a request's tensors: the picture or its gradient, the weight or its gradient, the result or its
/// gradient, the bias [1, 1, 1, K], the sums of before.
inline constexpr int64_t kX = 1, kWeight = 2, kY = 3, kBias = 4, kSums = 5;

/// Which problems have graphs: f32, bf16 and f16, of tensors that are not empty.
bool has_graph(const Conv2dProblem& problem);

/// The channels that cuDNN is shown: of bf16 and f16 the next multiple of 8, so that tensor cores read and
/// write them without another copy; of f32, and in groups, they stay.
int64_t shown_channels(const Conv2dProblem& problem, int64_t channels);

Graph make_graph(const Target& target, const GraphRequest& request);

/// Engines that give the same bits in every run, need no compiler at run time, and keep to the math mode.
bool is_allowed(const Engine& engine, const GraphRequest& request);

}  // namespace lux::cuda
