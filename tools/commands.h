// All subcommands by name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "luxgrad/tools/command.h"

namespace lux {

struct CommandEntry {
  const char* name;
  const char* summary;
  const char* example;
  std::unique_ptr<Command> (*make)(CLI::App& app);
};

std::span<const CommandEntry> commands();

/// What every help ends with.
extern const char* const kExitCodes;

/// An option as its help shows it.
struct OptionText {
  std::vector<std::string> short_names, long_names;  ///< without dashes
  std::string value;                                 ///< what it takes; empty: nothing
  std::string description;
};

/// The options of a subcommand.
std::vector<OptionText> options_of(const CommandEntry& entry);

}  // namespace lux
