#include "luxgrad/data/result.h"

namespace lux {

std::string FileError::message() const {
  std::string text = file.empty() ? reason : cat(file, ": ", reason);
  if (offset >= 0) text += cat(" (at byte ", offset, ")");
  return printable(text);
}

}  // namespace lux
