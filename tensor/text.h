// Text: values as messages and files write them, and what is safe to show on a terminal.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace lux {

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

/// The shortest text that reads back as the same number.
std::string exact_text(double value);

/// The text with control characters, and bytes that are not UTF-8, as \xNN, so that a hostile name cannot
/// drive a terminal.
std::string printable(const std::string& raw);

}  // namespace lux
