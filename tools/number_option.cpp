#include "luxgrad/tools/number_option.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

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

/// The power of 1024 that a unit stands for; -1 for what is none.
int power_of(std::string_view unit) {
  constexpr std::string_view kPrefixes = "KMGTP";
  std::string upper;
  for (const char c : unit) {
    if (c != ' ') upper += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  if (upper.empty() || upper == "B") return 0;
  const size_t prefix = kPrefixes.find(upper[0]);
  const bool sound = upper.size() == 1 || upper.substr(1) == "B" || upper.substr(1) == "IB";
  return sound && prefix != std::string_view::npos ? static_cast<int>(prefix) + 1 : -1;
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

CLI::Validator memory_size() {
  const auto bytes_of = [](std::string& text) -> std::string {
    constexpr double kMost = 9e18;  // fits into 64 bits with their sign
    double number = 0;
    const char* const end = text.data() + text.size();
    const auto [unit, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
    const int power = power_of({unit, static_cast<size_t>(end - unit)});
    const double bytes = std::floor(number * std::pow(1024.0, power));
    if (error != std::errc() || power < 0 || !(bytes >= 1 && bytes <= kMost))
      return cat("expected a size like 2G or 500M, got ", text);
    text = std::to_string(static_cast<int64_t>(bytes));
    return "";
  };
  return {bytes_of, ""};
}

}  // namespace lux
