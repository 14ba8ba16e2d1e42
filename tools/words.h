// Options that take one of some words, which completion offers.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class Option;
class Validator;
}  // namespace CLI

namespace lux {

/// Refuses every other word.
CLI::Validator one_of(const std::vector<std::string>& words);
/// Refuses nothing: whoever reads the option does, or it takes other things, too.
CLI::Validator offers(const std::vector<std::string>& words);
/// What the first validator of an option says of its words; none where it is neither of these.
std::vector<std::string> words_of(CLI::Option& option);

}  // namespace lux
