// luxgrad completion: scripts that complete command lines, made of the options as they are.
#include <CLI/CLI.hpp>

#include "luxgrad/models/registry.h"
#include "luxgrad/tools/commands.h"
#include "luxgrad/tools/console.h"

namespace lux {
namespace {

/// The text in single quotes of a shell.
std::string quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) c == '\'' ? safe += "'\\''" : safe += c;
  return safe + "'";
}

/// What an option does, in one line.
std::string line_of(const OptionText& option) {
  return option.description.substr(0, option.description.find('\n'));
}

/// The same between the brackets of zsh.
std::string bracketed(const OptionText& option) {
  std::string safe = "[";
  for (const char c : line_of(option)) {
    if (c == ']') safe += '\\';
    safe += c;
  }
  return safe + "]";
}

std::string names_of_models() {
  std::string names;
  for (const std::string& name : model_names()) names += (names.empty() ? "" : " ") + name;
  return names;
}

std::string names_of_commands() {
  std::string names;
  for (const CommandEntry& entry : commands()) names += (names.empty() ? "" : " ") + std::string(entry.name);
  return names;
}

std::string bash() {
  std::string script =
      "# Completion of luxgrad for bash.\n_luxgrad() {\n  local current=${COMP_WORDS[COMP_CWORD]} "
      "before=${COMP_WORDS[COMP_CWORD-1]} options=\n  COMPREPLY=()\n  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    COMPREPLY=($(compgen -W '" +
      names_of_commands() + "' -- \"$current\"))\n    return\n  fi\n  case $before in\n    -n|--model)\n" +
      "      COMPREPLY=($(compgen -W '" + names_of_models() +
      "' -- \"$current\"))\n      return ;;\n  esac\n  case ${COMP_WORDS[1]} in\n";
  for (const CommandEntry& entry : commands()) {
    script += cat("    ", entry.name, ") options='");
    for (const OptionText& option : options_of(entry)) {
      for (const std::string& name : option.long_names) script += cat("--", name, " ");
      for (const std::string& name : option.short_names) script += cat("-", name, " ");
    }
    script += "' ;;\n";
  }
  return script +
         "  esac\n  case $current in\n    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")) ;;\n  "
         "esac\n}\n"
         "complete -o default -o bashdefault -F _luxgrad luxgrad";
}

std::string zsh() {
  std::string script = "#compdef luxgrad\n# Completion of luxgrad for zsh.\nlocal -a commands\ncommands=(\n";
  for (const CommandEntry& entry : commands())
    script += cat("  ", quoted(cat(entry.name, ":", entry.summary)), "\n");
  script += ")\nif (( CURRENT == 2 )); then\n  _describe command commands\n  return\nfi\ncase $words[2] in\n";
  for (const CommandEntry& entry : commands()) {
    script += cat("  ", entry.name, ")\n    _arguments '*:file:_files'");
    for (const OptionText& option : options_of(entry)) {
      const auto add = [&](const std::string& name) {
        script += cat(" \\\n      ", quoted(cat(name, bracketed(option))));
        if (option.value.empty()) return;
        script.pop_back();  // the value stands inside of the quotes
        script += option.value == "NAME" && name.ends_with("model") ? cat(":model:(", names_of_models(), ")'")
                                                                    : ":value:_files'";
      };
      for (const std::string& name : option.long_names) add("--" + name);
      for (const std::string& name : option.short_names) add("-" + name);
    }
    script += " ;;\n";
  }
  return script + "esac";
}

std::string fish() {
  std::string script = "# Completion of luxgrad for fish.\n";
  for (const CommandEntry& entry : commands()) {
    script += cat("complete -c luxgrad -n __fish_use_subcommand -a ", entry.name, " -d ",
                  quoted(entry.summary), "\n");
    for (const OptionText& option : options_of(entry)) {
      script += cat("complete -c luxgrad -n ", quoted(cat("__fish_seen_subcommand_from ", entry.name)));
      for (const std::string& name : option.long_names) script += cat(" -l ", name);
      for (const std::string& name : option.short_names) script += cat(" -s ", name);
      if (!option.value.empty()) script += " -r";
      script += cat(" -d ", quoted(line_of(option)), "\n");
    }
  }
  script.pop_back();
  return script;
}

class Completion final : public Command {
 public:
  explicit Completion(CLI::App& app) {
    app.add_option("shell", shell_, "bash, zsh or fish")->type_name("SHELL");
  }

  ExitCode run() override {
    check_usage(shell_ == "bash" || shell_ == "zsh" || shell_ == "fish", "name the shell: bash, zsh or fish");
    print_result(shell_ == "bash" ? bash() : shell_ == "zsh" ? zsh() : fish());
    return ExitCode::ok;
  }

 private:
  std::string shell_;
};

}  // namespace

std::unique_ptr<Command> make_completion(CLI::App& app) { return std::make_unique<Completion>(app); }

}  // namespace lux
