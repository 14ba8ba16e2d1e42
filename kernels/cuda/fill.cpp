#include "luxgrad/kernels/cuda/fill.h"

namespace lux::cuda {

void fill(Slots& slots, Device::Type device) {
  for (const auto fill_file :
       {fill_activation_gradient, fill_adam, fill_batch_norm, fill_bytes, fill_concat, fill_curve,
        fill_dual_attention, fill_epilogue, fill_hsv_distance, fill_pixel_loss, fill_pool2d, fill_resize,
        fill_selective_kernel, fill_zero_reference})
    fill_file(slots, device);
}

}  // namespace lux::cuda
