#include "luxgrad/kernels/cuda/fill.h"

namespace lux::cuda {

void fill(Slots& slots, Device::Type device) {
  for (const auto fill_file : {fill_activation_gradient, fill_batch_norm, fill_curve, fill_dual_attention, fill_selective_kernel}) fill_file(slots, device);
}

}  // namespace lux::cuda
