// The table of slots through which faster kernels reach an operator: each entry says for which problems it is
// meant, the last one that takes a problem runs it, and the plain text, set first, takes all. Special
// kernels, vendor libraries and devices are added by `set` and nowhere else.
#pragma once

#include <string_view>
#include <vector>

#include "luxgrad/tensor/device.h"

namespace lux {

/// The kernels that the environment variable LUX_KERNELS asks for: plain, eigen, tiles, winograd or pairs;
/// empty where it is not set. Where an operator has none of that name, or they do not take the problem, it
/// chooses as ever. Throws Error for any other name.
std::string_view wanted_kernels();

/// Whether operators of this thread run their plain text: inside a PlainKernels scope, and everywhere when
/// `wanted_kernels` are the plain ones.
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

/// `Kernels` has a `name` and a member `bool (*takes)(const Problem&)`; null takes everything.
template <class Kernels>
class KernelTable {
 public:
  /// The kernels set first are the plain text, for every device.
  explicit KernelTable(const Kernels& plain) : plain_(plain) {}

  void set(Device::Type device, const Kernels& kernels) { entries_.push_back({device, kernels}); }

  template <class Problem>
  const Kernels& pick(Device device, const Problem& problem) const {
    const Kernels* picked = &plain_;
    if (plain_kernels()) return *picked;
    for (const auto& [type, kernels] : entries_) {
      if (type != device.type || (kernels.takes != nullptr && !kernels.takes(problem))) continue;
      picked = &kernels;
      if (kernels.name == wanted_kernels()) break;
    }
    return *picked;
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
