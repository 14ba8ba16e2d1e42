// What a device has no memory left for is done on the CPU.
#pragma once

#include <new>
#include <string>

#include "luxgrad/models/model.h"
#include "luxgrad/tools/console.h"

namespace lux {

/// While it lives, the network is on the CPU, in f32; afterwards as it was, if there is room for it.
class OnCpu {
 public:
  explicit OnCpu(Model& model);
  ~OnCpu();
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;

 private:
  Model& model_;
  Device before_;
  DType dtype_;
};

/// work(), which runs `model`; where its device has no memory left, that is said of `what`, and fallback(),
/// on the CPU. Throws what they throw.
template <class Work, class Fallback>
auto on_cpu_if_exhausted(Model& model, const std::string& what, const Work& work, const Fallback& fallback) {
  if (model.device() == kCpu) return work();
  try {
    return work();
  } catch (const std::bad_alloc& error) {
    print_note(cat(what, ": done on the CPU, for ", error.what()));
  }
  const OnCpu scope(model);
  return fallback();
}

}  // namespace lux
