#include "luxgrad/kernels/kernel_table.h"

#include <cstdlib>
#include <string_view>
#include <utility>

namespace lux {
namespace {

bool plain_by_environment() {
  const char* const text = std::getenv("LUX_KERNELS");
  return text != nullptr && std::string_view(text) == "plain";
}

thread_local bool plain = plain_by_environment();

}  // namespace

bool plain_kernels() { return plain; }
PlainKernels::PlainKernels() : before_(std::exchange(plain, true)) {}
PlainKernels::~PlainKernels() { plain = before_; }

}  // namespace lux
