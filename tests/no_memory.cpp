// Loaded before a program, lets the allocation whose number LUX_FAILING_ALLOCATION is and all after it fail.
#include "failing_malloc.h"

[[gnu::constructor]] static void fail_from_here() {
  if (const char* const number = std::getenv("LUX_FAILING_ALLOCATION"))
    heap::fail_allocation(std::strtoll(number, nullptr, 10), true);
}
