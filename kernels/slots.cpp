#include "luxgrad/kernels/slots.h"

namespace lux {

Slots& slots() {
  static Slots all = [] {
    Slots filled;
#ifdef LUX_CUDA
    cuda::fill(filled, Device::Type::cuda);
#endif
    return filled;
  }();
  return all;
}

}  // namespace lux
