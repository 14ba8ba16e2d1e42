// What the convolutions of kernels/cpu/ share before they go their own ways: easier geometries, the inputs
// as a list of parts, memory for one task.
#pragma once

#include <array>

#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/tensor/memory.h"

namespace lux::cpu {

/// The own kernels for any convolution (kernels/cpu/conv2d.cpp).
extern const Conv2dKernels kTileKernels;
/// The same by products of bf16.
extern const Conv2dKernels kPairKernels;

/// Uninitialised bytes for one task or one operator: a tensor would ask the system for a storage each time.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : block_(memory::allocate(bytes)) {}
  ~Scratch() { memory::deallocate(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* raw() const { return block_.data; }

 private:
  memory::Block block_;
};
inline Scratch scratch(int64_t bytes) { return Scratch(bytes); }

/// Uninitialised bytes that are kept, such as weights in another order.
inline Tensor kept(int64_t bytes) { return empty({bytes}, {DType::u8, kCpu}); }

inline bool is_depthwise(const Conv2dProblem& s) {
  return s.groups > 1 && s.groups == s.C && s.groups == s.K;
}

/// Whether Winograd's kernels run it where nobody is ahead of them.
bool winograd_takes(const Conv2dProblem& s);

/// The inputs of an operator, or the gradients of inputs, as one picture.
struct Concatenation {
  std::array<Part, kMaxConv2dInputs> parts{};
  int64_t count = 0;

  void add(const Tensor& tensor, int64_t channels) {
    parts[static_cast<size_t>(count++)] = {tensor.defined() ? tensor.raw() : nullptr, channels};
  }
  explicit Concatenation(const Tensor& tensor) { add(tensor, tensor.size(3)); }
  explicit Concatenation(const Tensors& tensors) {
    for (const Tensor& tensor : tensors) add(tensor, tensor.size(3));
  }
  Concatenation(const Tensors& tensors, const std::vector<int64_t>& channels) {
    for (size_t m = 0; m < tensors.size(); ++m) add(tensors[m], channels[m]);
  }
  Pictures pictures(int64_t H, int64_t W) const { return {parts.data(), count, H, W}; }
};

}  // namespace lux::cpu
