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
std::vector<std::string> command_names();

/// What every help ends with.
extern const char* const kExitCodes;

/// An option as its help shows it.
struct OptionText {
  std::vector<std::string> short_names, long_names;  ///< without dashes
  std::string value;                                 ///< what it takes; empty: nothing
  std::string description;
  std::vector<std::string> words;  ///< that it takes; files as well where there are none, or `value` has FILE
};

/// The options of a subcommand.
std::vector<OptionText> options_of(const CommandEntry& entry);
/// What a subcommand takes first without a name before it.
OptionText first_argument_of(const CommandEntry& entry);

}  // namespace lux
