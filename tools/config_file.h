// Options from a file, beneath those of the command line.
#pragma once

namespace CLI {
class App;
}

namespace lux {

/// --config FILE: options as `parse_settings` reads them, for all that the command line neither sets nor
/// excludes. Parsing throws CommandError for a file that cannot be read, and for what is no option or no
/// value of it, with the line.
void add_config_option(CLI::App& app);

}  // namespace lux
