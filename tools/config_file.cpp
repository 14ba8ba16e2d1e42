#include "luxgrad/tools/config_file.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "luxgrad/data/settings.h"
#include "luxgrad/tools/exit_code.h"

namespace lux {
namespace {

CLI::Option* find_option(CLI::App& app, const std::string& name) {
  for (const char* const dashes : {"--", "-", ""}) {  // none: an argument by its place
    CLI::Option* const option = app.get_option_no_throw(dashes + name);
    if (option != nullptr) return option->get_configurable() ? option : nullptr;
  }
  return nullptr;
}

void set(CLI::Option& option, const Setting& setting) {
  if (option.get_expected_min() == 0) {  // a flag
    option.add_result(option.get_flag_value(setting.name, setting.values.front()));
  } else {
    option.add_result(setting.values);
  }
  option.run_callback();
}

void read_config(CLI::App& app, const std::string& path) {
  Result<std::vector<Setting>> settings = read_settings(path);
  if (!settings) usage_error(settings.error().message());
  std::vector<const CLI::Option*> given;  // on the command line
  for (const CLI::Option* const option : app.get_options()) {
    if (!option->empty()) given.push_back(option);
  }
  const auto is_given = [&](const CLI::Option* option) {
    return std::find(given.begin(), given.end(), option) != given.end();
  };
  for (const Setting& setting : settings.value()) {
    const std::string place = cat(path, ": line ", setting.line, ": ");
    CLI::Option* const option = find_option(app, setting.name);
    check_usage(option != nullptr, place, "unknown option ", setting.name);
    const auto excluded = option->get_excludes();
    if (is_given(option) || std::any_of(excluded.begin(), excluded.end(), is_given)) continue;
    check_usage(!setting.values.empty(), place, setting.name, " has no value");
    check_usage(option->get_expected_min() > 0 || setting.values.size() == 1, place, setting.name,
                ": expected one value, got ", setting.values.size());
    try {
      set(*option, setting);
    } catch (const CLI::ParseError& error) {
      usage_error(place, error.what());
    }
  }
}

}  // namespace

// CLI11's own set_config opens whatever has the name, pipes and devices, too. By the time that options are
// handed over, all of the command line is known.
void add_config_option(CLI::App& app) {
  app.add_option_function<std::string>(
         "--config", [&app](const std::string& path) { read_config(app, path); },
         "Options from a TOML file, for example epochs = 10; the command line wins")
      ->type_name("FILE")
      ->configurable(false);
}

}  // namespace lux
