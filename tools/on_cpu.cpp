#include "luxgrad/tools/on_cpu.h"

namespace lux {

OnCpu::OnCpu(Model& model) : model_(model), before_(model.device()), dtype_(model.dtype()) {
  model.to(kCpu);
  model.to(DType::f32);
}

OnCpu::~OnCpu() {
  model_.to(dtype_);
  try {
    model_.to(before_);
  } catch (const std::bad_alloc&) {
    model_.to(kCpu);  // what had moved
  }
}

}  // namespace lux
