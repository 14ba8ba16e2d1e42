// Loaded before a program, lets the allocation whose number LUX_FAILING_ALLOCATION is fail; where
// LUX_FAILURES_LAST is 1, all after it, too.
#include <string_view>

#include "failing_malloc.h"

[[gnu::constructor]] static void fail_from_here() {
  const char* const number = std::getenv("LUX_FAILING_ALLOCATION");
  const char* const lasting = std::getenv("LUX_FAILURES_LAST");
  if (number != nullptr)
    heap::fail_allocation(std::strtoll(number, nullptr, 10), lasting && std::string_view(lasting) == "1");
}
