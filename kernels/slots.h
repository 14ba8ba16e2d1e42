// What a device may do better than the plain text, launch by launch: a slot is asked first, and where it is
// empty or does not take the problem, the plain text runs. So an operator names its slot in one line, and on
// devices without tuned kernels nothing else happens. Convolution, with several kernels to choose from, has a
// table of its own (kernels/kernel_table.h).
#pragma once

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

/// Operands come checked and dense; results are allocated and come last. Undefined ones are not wanted.
struct Slots {
  /// x, curves, iterations; y
  Slot<Tensor, Tensor, int, Tensor> curve;
  /// x, curves, gy, iterations; gx, gcurves
  Slot<Tensor, Tensor, Tensor, int, Tensor, Tensor> curve_gradient;
};

Slots& slots();

namespace cuda {
/// Fills the slots of a device with the kernels of kernels/cuda/.
void fill(Slots& slots, Device::Type device);
}  // namespace cuda

}  // namespace lux
