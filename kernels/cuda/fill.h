// The files of tuned kernels: each fills its slots.
#pragma once

#include "luxgrad/kernels/slots.h"

namespace lux::cuda {

void fill_curve(Slots& slots, Device::Type device);

}  // namespace lux::cuda
