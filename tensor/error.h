// Errors: one exception type, one sentence for a person, and `check`, which builds that sentence only when it
// is needed.
#pragma once

#include <stdexcept>

#include "luxgrad/tensor/text.h"

namespace lux {

/// Every error luxgrad throws. The text says what was expected and what came: `op: expected …, got …`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The system's memory or the cap of `memory::set_cap` is exhausted.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(cat(parts...));
}

template <class... Parts>
void check(bool ok, const Parts&... parts) {
  if (!ok) fail(parts...);
}

}  // namespace lux
