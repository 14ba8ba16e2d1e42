// Options in a file: the part of TOML (toml.io, 1.0) that assigns texts, numbers, true or false, and lists of
// them, without tables.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

inline constexpr int64_t kMaxSettingsBytes = int64_t{1} << 20;

/// `name = value` or `name = [value, value]`. A value is what stands there, a text without its quotes.
struct Setting {
  std::string name;
  std::vector<std::string> values;
  int64_t line = 1;
};

/// The settings of a text in their order: printable UTF-8, no name twice. Texts without quotes are taken,
/// too, up to a space, comma, bracket, quote or #. Refuses tables, quotes and lists that are not closed, and
/// whatever else is none of it, with its line.
Result<std::vector<Setting>> parse_settings(std::span<const uint8_t> bytes);

/// The same of a regular file of at most `kMaxSettingsBytes`.
Result<std::vector<Setting>> read_settings(const std::string& path);

}  // namespace lux
