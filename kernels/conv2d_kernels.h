// The slot of conv2d: what a kernel has to offer to run convolutions, and the problem it is asked about.
#pragma once

#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/precision.h"

namespace lux {

/// The sizes of one convolution, checked.
struct Conv2dProblem {
  DType dtype = DType::f32;
  int64_t N = 0, H = 0, W = 0, C = 0;  // of the inputs, read as one
  int64_t P = 0, Q = 0, K = 0;         // rows, columns and channels of the output
  int64_t kH = 0, kW = 0, stride = 1;
  int64_t top = 0, left = 0;
  int64_t groups = 1;
  Activation activation = Activation::none;
  double slope = 0;  // of leaky_relu
  Precision precision = Precision::fp32;
};

/// The precision at hand; `exact` instead of `fp32` where an operator of these operands is recorded, for
/// errors of 4e-6 a layer grow along the way back through a network.
Precision precision_for(const Tensors& operands, bool fine = false);

/// gz = gy · activation'(y); fills gb, the gradient of the bias, where it is defined. Without an activation
/// gz is gy, and y may be undefined.
Tensor output_gradient(Activation activation, double slope, const Tensor& gy, const Tensor& y,
                       const Tensor& gb);

/// A convolution with what it multiplies and adds.
struct Conv2dStep {
  Conv2dProblem problem;
  Tensor weight, bias;
};

/// All tensors are dense and of one dtype; gz is the gradient of the sums before the activation.
struct Conv2dKernels {
  const char* name;  // as LUX_KERNELS says it, but for the whole numbers of Winograd's, which are `fixed`
  bool (*takes)(const Conv2dProblem&);
  void (*forward)(const Conv2dProblem&, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
                  const Tensor& y);
  /// Fills the defined ones of `gx`, the gradients of the inputs [N, H, W, C_i] whose channels are
  /// `channels`.
  void (*input_gradient)(const Conv2dProblem&, const Tensor& gz, const Tensor& weight,
                         const std::vector<int64_t>& channels, const Tensors& gx);
  void (*weight_gradient)(const Conv2dProblem&, const Tensors& inputs, const Tensor& gz, const Tensor& gw);
  /// Optional: forward of `depth`, a depthwise convolution of one picture, and of the pointwise one behind
  /// it.
  void (*separable)(const Conv2dStep& depth, const Conv2dStep& point, const Tensors& inputs,
                    const Tensor& y) = nullptr;
  /// Optional: y = forward + skip, while y is in the cache.
  void (*forward_onto)(const Conv2dProblem&, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
                       const Tensor& skip, const Tensor& y) = nullptr;
  /// Optional: conv_transpose2d, which is the input gradient of one input, with `bias` added where it is
  /// defined; the activation of the problem is that of y.
  void (*transposed)(const Conv2dProblem&, const Tensor& x, const Tensor& weight, const Tensor& bias,
                     const Tensor& y) = nullptr;
  /// Optional: the bytes that `forward` takes beside its operands, for weights in a form of its own and for
  /// all tasks at work at a time; and that `transposed` does. Where they are missing about those of the
  /// weights.
  int64_t (*working_bytes)(const Conv2dProblem&) = nullptr;
  int64_t (*transposed_bytes)(const Conv2dProblem&) = nullptr;
};

KernelTable<Conv2dKernels>& conv2d_kernels();

namespace cpu {
/// Matrix products of Eigen, for processors without tiles (kernels/cpu/conv2d_eigen.cpp).
void add_eigen(KernelTable<Conv2dKernels>& table);
/// The own kernels (kernels/cpu/conv2d.cpp).
void add_tiles(KernelTable<Conv2dKernels>& table);
/// 3x3 with stride 1, and 3x3 and 4x4 transposed with stride 2, in f32 or, for bf16, in whole numbers
/// (kernels/cpu/winograd.cpp).
void add_winograd(KernelTable<Conv2dKernels>& table);
/// The own kernels by products of bf16, where precision and processor have them (kernels/cpu/conv2d.cpp).
void add_pairs(KernelTable<Conv2dKernels>& table);
}  // namespace cpu

namespace cuda {
/// Depthwise 3x3 with a stride of 1, in f32 and bf16 (kernels/cuda/depthwise.cu).
void add_depthwise(KernelTable<Conv2dKernels>& table, Device::Type device);
}  // namespace cuda

inline constexpr int kMaxConv2dInputs = 8;

}  // namespace lux
