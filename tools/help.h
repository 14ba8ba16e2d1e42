// Help that begins with a line to copy, and errors that suggest what was meant.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace lux {

/// Lets the help of `app` begin with `example`.
void begin_help_with(CLI::App& app, const std::string& example);

/// The word with the fewest typing errors from `word`; empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& words);

/// The sentence for an argument that `app` does not know.
std::string unknown_argument(const CLI::App& app, const std::string& argument);

/// Width and height of `640x480`, the value of --size. Throws CommandError for anything else.
std::pair<int64_t, int64_t> size_from(const std::string& text);

}  // namespace lux
