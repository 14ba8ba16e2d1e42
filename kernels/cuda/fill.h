// The files of tuned kernels: each fills its slots.
#pragma once

#include "luxgrad/kernels/slots.h"

namespace lux::cuda {

void fill_activation_gradient(Slots& slots, Device::Type device);
void fill_adam(Slots& slots, Device::Type device);
void fill_batch_norm(Slots& slots, Device::Type device);
void fill_bytes(Slots& slots, Device::Type device);
void fill_concat(Slots& slots, Device::Type device);
void fill_curve(Slots& slots, Device::Type device);
void fill_dual_attention(Slots& slots, Device::Type device);
void fill_epilogue(Slots& slots, Device::Type device);
void fill_hsv_distance(Slots& slots, Device::Type device);
void fill_pixel_loss(Slots& slots, Device::Type device);
void fill_pool2d(Slots& slots, Device::Type device);
void fill_resize(Slots& slots, Device::Type device);
void fill_selective_kernel(Slots& slots, Device::Type device);
void fill_zero_reference(Slots& slots, Device::Type device);

}  // namespace lux::cuda
