#include "luxgrad/kernels/slots.h"

namespace lux {

Slots& slots() {
  static Slots all;
  return all;
}

}  // namespace lux
