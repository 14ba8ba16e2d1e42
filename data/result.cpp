#include "luxgrad/data/result.h"

namespace lux {

std::string FileError::message() const {
  std::string text = file.empty() ? reason : cat(file, ": ", reason);
  if (offset >= 0) text += cat(" (at byte ", offset, ")");
  return printable(text);
}

std::string in_quotes(const std::string& text) {
  return cat("\"", text.size() <= 100 ? text : cat(text.substr(0, 97), "..."), "\"");
}

}  // namespace lux
