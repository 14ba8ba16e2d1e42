#include "luxgrad/kernels/kernel_table.h"

#include <cstdlib>
#include <utility>

#include "luxgrad/tensor/error.h"

namespace lux {
namespace {

std::string_view named_by_environment() {
  const char* const text = std::getenv("LUX_KERNELS");
  if (text == nullptr || *text == '\0') return {};
  for (const std::string_view name : {"plain", "eigen", "tiles", "winograd", "pairs"}) {
    if (name == text) return name;
  }
  fail("LUX_KERNELS: expected plain, eigen, tiles, winograd or pairs, got ", text);
}

thread_local bool plain = wanted_kernels() == "plain";

}  // namespace

std::string_view wanted_kernels() {
  static const std::string_view wanted = named_by_environment();
  return wanted;
}

bool plain_kernels() { return plain; }
PlainKernels::PlainKernels() : before_(std::exchange(plain, true)) {}
PlainKernels::~PlainKernels() { plain = before_; }

}  // namespace lux
