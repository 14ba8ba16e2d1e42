// What a device has no memory left for is done with less at a time, or on the CPU.
#pragma once

#include <new>
#include <string>

#include "luxgrad/models/enhance.h"
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

/// work(options), which enhances a picture [1, height, width, 3] with `model`. Where its device has no memory
/// left, once more with half as much at a time, as long as there is a way that gives the same, then on the
/// CPU; both are said of `what`.
template <class Work>
Tensor in_less_memory_or_on_cpu(Model& model, const std::string& what, int64_t height, int64_t width,
                                const Work& work) {
  const auto in_less = [&] {
    for (EnhanceOptions options;;) {
      try {
        return work(options);
      } catch (const std::bad_alloc& error) {
        const auto less = in_half_the_memory(model, height, width, options);
        if (!less) throw;
        print_note(cat(what, ": done with less at a time, for ", error.what()));
        options = *less;
      }
    }
  };
  return on_cpu_if_exhausted(model, what, in_less, [&] { return work(EnhanceOptions{}); });
}

}  // namespace lux
