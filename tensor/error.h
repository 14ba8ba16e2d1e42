// Errors: one exception type and one for want of memory, one sentence for a person, and `check`, which builds
// that sentence only when it is needed.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

#include "luxgrad/tensor/text.h"

namespace lux {

/// Every error luxgrad throws but want of memory. The text says what was expected and what came: `op:
/// expected …, got …`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The system's memory or the cap of `memory::set_cap` is exhausted. No Error: nothing that was asked is
/// wrong.
class OutOfMemory : public std::bad_alloc {
 public:
  // NOLINTNEXTLINE(bugprone-throw-keyword-missing): a member, no exception that somebody forgot to throw
  explicit OutOfMemory(const std::string& text) : text_(text) {}
  const char* what() const noexcept override { return text_.what(); }

 private:
  std::runtime_error text_;  // is copied without allocating
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
