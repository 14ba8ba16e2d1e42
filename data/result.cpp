#include "luxgrad/data/result.h"

namespace lux {

std::string FileError::message() const {
  std::string text = file.empty() ? reason : cat(file, ": ", reason);
  if (offset >= 0) text += cat(" (at byte ", offset, ")");
  return printable(text);
}

std::string printable(const std::string& raw) {
  constexpr const char* kHex = "0123456789abcdef";
  std::string text;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      text += c;
    } else {
      text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text;
}

}  // namespace lux
