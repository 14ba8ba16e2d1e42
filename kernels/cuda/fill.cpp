#include "luxgrad/kernels/cuda/fill.h"

namespace lux::cuda {

void fill(Slots& slots, Device::Type device) {
  for (const auto fill_file : {fill_curve}) fill_file(slots, device);
}

}  // namespace lux::cuda
