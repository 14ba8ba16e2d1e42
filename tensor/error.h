// Errors: one exception type, one sentence for a person, and `check`, which builds that sentence only when it
// is needed.
#pragma once

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

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

/// Appends a value in the form that messages use. Types add their own overload (found by argument-dependent
/// lookup).
inline void append(std::string& text, std::string_view value) { text += value; }
inline void append(std::string& text, std::integral auto value) { text += std::to_string(value); }
void append(std::string& text, double value);  // shortest of %g with 9 digits

/// The parts, one after the other, as text.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(cat(parts...));
}

template <class... Parts>
void check(bool ok, const Parts&... parts) {
  if (!ok) fail(parts...);
}

}  // namespace lux
