#include "luxgrad/tools/words.h"

#include <CLI/CLI.hpp>

namespace lux {
namespace {

// CLI11 has no place for them but a validator's name, which it shows to nobody.
CLI::Validator named(CLI::Validator validator, const std::vector<std::string>& words) {
  return validator.description("").name(CLI::detail::join(words, " "));
}

}  // namespace

CLI::Validator one_of(const std::vector<std::string>& words) { return named(CLI::IsMember(words), words); }

CLI::Validator offers(const std::vector<std::string>& words) {
  return named(CLI::Validator([](std::string&) { return std::string(); }, ""), words);
}

std::vector<std::string> words_of(CLI::Option& option) try {
  const std::string& words = option.get_validator(0)->get_name();
  return words.empty() ? std::vector<std::string>() : CLI::detail::split(words, ' ');
} catch (const CLI::OptionNotFound&) {  // it has no validator
  return {};
}

}  // namespace lux
