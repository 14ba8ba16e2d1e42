// What a device may do better than the plain text, launch by launch: a slot is asked first, and where it is
// empty or does not take the problem, the plain text runs. So an operator names its slot in one line, and on
// devices without tuned kernels nothing else happens. Convolution, with several kernels to choose from, has a
// table of its own (kernels/kernel_table.h).
#pragma once

#include "luxgrad/kernels/epilogue.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/pixel_loss.h"
#include "luxgrad/kernels/pool2d_axis.h"
#include "luxgrad/kernels/resize_axis.h"
#include "luxgrad/kernels/zero_reference.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

namespace cuda {
/// Tells a FloorMeter (kernels/cuda/floor.h) that the kernels of a slot are called.
void end_of_slot();
}  // namespace cuda

template <class... Args>
class Slot {
 public:
  /// Returns false, having done nothing, for what it does not take.
  using Kernel = bool (*)(const Args&...);

  void set(Device::Type device, Kernel kernel) { kernels_[static_cast<size_t>(device)] = kernel; }

  bool filled(Device device) const {
    return kernels_[static_cast<size_t>(device.type)] != nullptr && !plain_kernels();
  }

  /// Whether the work is done. Never inside a PlainKernels scope.
  bool operator()(Device device, const Args&... args) const {
    const Kernel kernel = kernels_[static_cast<size_t>(device.type)];
    if (kernel == nullptr || plain_kernels() || !kernel(args...)) return false;
    cuda::end_of_slot();
    return true;
  }

  /// For the gradient of what a slot took. Throws Error where it is not taken.
  void require(Device device, const Args&... args) const {
    const Kernel kernel = kernels_[static_cast<size_t>(device.type)];
    check(kernel != nullptr && kernel(args...),
          "slot: expected a kernel for the gradient of what another kernel made");
    cuda::end_of_slot();
  }

 private:
  Kernel kernels_[2] = {};
};

struct NormalizeOperands {
  Tensor x, weight, bias;
  Tensor mean, variance;  // in Arith
  double eps;
};

/// Runs of elements within `tensor`: the first at `begin`, the others `row` elements apart.
struct RunsOf {
  Tensor tensor;
  int64_t begin, row;
};

struct AdamTensors {
  Tensor gradient, parameter, mean, square;
};

/// Operands come checked and dense; results are allocated and come last. Undefined ones are not wanted.
struct Slots {
  /// x, curves, iterations; y
  Slot<Tensor, Tensor, int, Tensor> curve;
  /// x, curves, gy, iterations; gx, gcurves
  Slot<Tensor, Tensor, Tensor, int, Tensor, Tensor> curve_gradient;

  /// streams; y [N, 1, 1, C]
  Slot<Tensors, Tensor> pooled_sum;
  /// gy; gx, of every stream
  Slot<Tensor, Tensor> pooled_sum_gradient;
  /// streams, weights; y
  Slot<Tensors, Tensors, Tensor> weighted_sum;
  /// streams, weights, gy; gx, gw
  Slot<Tensors, Tensors, Tensor, Tensors, Tensors> weighted_sum_gradient;

  /// x; y [N, 2·pixels + C], as attention_pool keeps it
  Slot<Tensor, Tensor> attention_pool;
  /// x, y, gy; gx
  Slot<Tensor, Tensor, Tensor, Tensor> attention_pool_gradient;
  /// x, pixels, channels, whether the pixels' part comes first; y
  Slot<Tensor, Tensor, Tensor, bool, Tensor> attention_scale;
  /// x, pixels, channels, gy, whether the pixels' part comes first; gx, gpixels, gchannels
  Slot<Tensor, Tensor, Tensor, Tensor, bool, Tensor, Tensor, Tensor> attention_scale_gradient;

  /// x; mean, variance of every channel
  Slot<Tensor, Tensor, Tensor> channel_statistics;
  /// y
  Slot<NormalizeOperands, Tensor> normalize;
  /// gy; gw, gb
  Slot<NormalizeOperands, Tensor, Tensor, Tensor> normalize_parameter_gradients;
  /// gy, gw, gb (undefined where the statistics are constants); gx
  Slot<NormalizeOperands, Tensor, Tensor, Tensor, Tensor> normalize_gradient;

  /// gy, y, activation, slope; gz, gb. Without an activation y and gz are undefined.
  Slot<Tensor, Tensor, Activation, double, Tensor, Tensor> activation_gradient;

  /// sums, columns of a row of them, bias (undefined: none), activation, slope; y, which may be the sums
  Slot<Tensor, int64_t, Tensor, Activation, double, Tensor> epilogue;

  /// x, windows of rows and columns; y
  Slot<Tensor, PoolAxis, PoolAxis, Tensor> avg_pool2d, max_pool2d;
  /// gy, windows of rows and columns; gx
  Slot<Tensor, PoolAxis, PoolAxis, Tensor> avg_pool2d_gradient;
  /// x, gy, windows of rows and columns; gx
  Slot<Tensor, Tensor, PoolAxis, PoolAxis, Tensor> max_pool2d_gradient;

  /// x, rows, columns; y
  Slot<Tensor, ResizeAxis, ResizeAxis, Tensor> resize;
  /// gy, rows, columns; gx
  Slot<Tensor, ResizeAxis, ResizeAxis, Tensor> resize_gradient;

  /// from, to, how many runs, elements of each
  Slot<RunsOf, RunsOf, int64_t, int64_t> copy_runs;
  /// gy, elements of a run, zeros before it, elements of a row of gx; gx
  Slot<Tensor, int64_t, int64_t, int64_t, Tensor> widen_runs;

  /// x, y, which, epsilon; loss []
  Slot<Tensor, Tensor, PixelLoss, double, Tensor> pixel_loss;
  /// x, y, gradient of the loss, which, epsilon; gx, gy
  Slot<Tensor, Tensor, Tensor, PixelLoss, double, Tensor, Tensor> pixel_loss_gradient;

  /// x, y; distances [2] of hue and saturation; sums [N, 6] that are kept for the gradient
  Slot<Tensor, Tensor, Tensor, Tensor> hsv_distance;
  /// x, y, gradient of the distances, sums; gx, gy
  Slot<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> hsv_distance_gradient;

  /// low, curves, iterations, options; terms [4] in f32: variation, spatial, colour, exposure; kept for the
  /// gradient
  Slot<Tensor, Tensor, int, ZeroReferenceOptions, Tensor, ZeroReferenceKept> zero_reference;
  /// low, curves, iterations, options, gradient of the terms, kept; gcurves
  Slot<Tensor, Tensor, int, ZeroReferenceOptions, Tensor, ZeroReferenceKept, Tensor> zero_reference_gradient;

  /// Writes parameters and moments. Scalars [9] in f32, on the device: rest1, beta2, rest2, eps, scale, root,
  /// keep, decay, as AdamStep in training/optimizer.cpp names them, and whether to write at all, 1 or 0.
  Slot<std::vector<AdamTensors>, Tensor> adam;

  /// u8; floats in [0, 1]
  Slot<Tensor, Tensor> from_bytes;
  /// floats; u8
  Slot<Tensor, Tensor> to_bytes;
};

Slots& slots();

namespace cuda {
/// Fills the slots of a device with the kernels of kernels/cuda/.
void fill(Slots& slots, Device::Type device);
}  // namespace cuda

}  // namespace lux
