// The table of slots through which faster kernels reach an operator: each entry says for which problems it is
// meant, the last one that takes a problem runs it, and the plain text, set first, takes all. Special
// kernels, vendor libraries and devices are added by `set` and nowhere else.
#pragma once

#include <vector>

#include "luxgrad/tensor/device.h"

namespace lux {

/// Whether operators of this thread run their plain text: inside a PlainKernels scope, and everywhere when
/// the environment says LUX_KERNELS=plain.
bool plain_kernels();

/// While it lives, operators of this thread run their plain text, the oracle of the tuned kernels.
class PlainKernels {
 public:
  PlainKernels();
  ~PlainKernels();
  PlainKernels(const PlainKernels&) = delete;
  PlainKernels& operator=(const PlainKernels&) = delete;

 private:
  bool before_;
};

/// `Kernels` has a member `bool (*takes)(const Problem&)`; null takes everything.
template <class Kernels>
class KernelTable {
 public:
  /// The kernels set first are the plain text, for every device.
  explicit KernelTable(const Kernels& plain) : plain_(plain) {}

  void set(Device::Type device, const Kernels& kernels) { entries_.push_back({device, kernels}); }

  template <class Problem>
  const Kernels& pick(Device device, const Problem& problem) const {
    if (!plain_kernels()) {
      for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
        const Kernels& kernels = entry->kernels;
        if (entry->device == device.type && (kernels.takes == nullptr || kernels.takes(problem)))
          return kernels;
      }
    }
    return plain_;
  }

 private:
  struct Entry {
    Device::Type device;
    Kernels kernels;
  };
  Kernels plain_;
  std::vector<Entry> entries_;
};

}  // namespace lux
