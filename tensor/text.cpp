#include "luxgrad/tensor/text.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace lux {
namespace {

/// The length of the character of well-formed UTF-8 (RFC 3629) that begins at `at`; 0 where none does.
size_t character_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at), second = byte(at + 1);
  if (first < 0x80) return 1;
  const size_t length = first < 0xc2 || first > 0xf4 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0u) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool surrogate = first == 0xed && second > 0x9f;
  const bool too_large = first == 0xf4 && second > 0x8f;
  return overlong || surrogate || too_large ? 0 : length;
}

/// U+0000 … U+001F and U+007F … U+009F: what drives a terminal.
bool is_control(const std::string& text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  return first < 0x20 || first == 0x7f || (first == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0);
}

}  // namespace

void append(std::string& text, double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.9g", value);
  text += digits;
}

std::string exact_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string printable(const std::string& raw) {
  constexpr const char* kHex = "0123456789abcdef";
  std::string text;
  for (size_t at = 0; at < raw.size();) {
    const size_t length = character_length(raw, at);
    if (length > 0 && !is_control(raw, at)) {
      text.append(raw, at, length);
      at += length;
      continue;
    }
    for (const size_t end = at + std::max<size_t>(1, length); at < end; ++at) {
      const auto byte = static_cast<unsigned char>(raw[at]);
      text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text;
}

}  // namespace lux
