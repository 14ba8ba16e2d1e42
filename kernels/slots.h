// What a device may do better than the plain text, launch by launch: a slot is asked first, and where it is
// empty or does not take the problem, the plain text runs. So an operator names its slot in one line, and on
// devices without tuned kernels nothing else happens. Convolution, with several kernels to choose from, has a
// table of its own (kernels/kernel_table.h).
#pragma once

#include "luxgrad/kernels/epilogue.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

template <class... Args>
class Slot {
 public:
  /// Returns false, having done nothing, for what it does not take.
  using Kernel = bool (*)(const Args&...);

  void set(Device::Type device, Kernel kernel) { kernels_[static_cast<size_t>(device)] = kernel; }

  /// Whether the work is done. Never inside a PlainKernels scope.
  bool operator()(Device device, const Args&... args) const {
    const Kernel kernel = kernels_[static_cast<size_t>(device.type)];
    return kernel != nullptr && !plain_kernels() && kernel(args...);
  }

 private:
  Kernel kernels_[2] = {};
};

struct NormalizeOperands {
  Tensor x, weight, bias;
  Tensor mean, variance;  // in Arith
  double eps;
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
};

Slots& slots();

namespace cuda {
/// Fills the slots of a device with the kernels of kernels/cuda/.
void fill(Slots& slots, Device::Type device);
}  // namespace cuda

}  // namespace lux
