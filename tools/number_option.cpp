#include "luxgrad/tools/number_option.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "luxgrad/tensor/text.h"

namespace lux {
namespace {

std::string wanted(double least, double most) {
  if (least == kAboveZero) return "a finite number above 0";
  std::string text = "a finite number";
  if (least > std::numeric_limits<double>::lowest()) text += cat(" from ", least);
  if (most < std::numeric_limits<double>::max()) text += cat(" to ", most);
  return text;
}

}  // namespace

CLI::Validator finite_number(double least, double most) {
  const auto reason = [least, most](std::string& text) {
    double number = 0;
    const bool fits = CLI::detail::lexical_cast(text, number) && number >= least && number <= most;
    return fits ? "" : cat("expected ", wanted(least, most), ", got ", text);
  };
  return {reason, ""};
}

CLI::Validator whole_number() {
  const auto reason = [](std::string& text) {
    errno = 0;
    (void)std::strtoull(text.c_str(), nullptr, 0);  // as CLI11 reads it, which does not look at errno
    const bool fits = errno != ERANGE && text.find('-') == std::string::npos;
    return fits ? "" : cat("expected a whole number from 0 to ", UINT64_MAX, ", got ", text);
  };
  return {reason, ""};
}

}  // namespace lux
