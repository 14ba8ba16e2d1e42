// luxgrad completion: scripts that complete command lines, made of the options as they are.
#include <CLI/CLI.hpp>
#include <cstring>

#include "luxgrad/tools/commands.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/words.h"

namespace lux {
namespace {

/// The text in single quotes of a shell.
std::string in_quotes(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) c == '\'' ? safe += "'\\''" : safe += c;
  return safe + "'";
}

/// The words with something between them.
std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  return CLI::detail::join(words, between);
}

/// The names of an option as they are typed.
std::vector<std::string> typed(const OptionText& option) {
  std::vector<std::string> names;
  names.reserve(option.long_names.size() + option.short_names.size());
  for (const std::string& name : option.long_names) names.push_back("--" + name);
  for (const std::string& name : option.short_names) names.push_back("-" + name);
  return names;
}

bool takes_files(const OptionText& option) {
  return option.words.empty() || option.value.find("FILE") != std::string::npos;
}

/// What an option does, in one line.
std::string line_of(const OptionText& option) {
  return option.description.substr(0, option.description.find('\n'));
}

/// The text with a backslash before each of some characters.
std::string escaped(const std::string& text, const char* characters) {
  std::string safe;
  for (const char c : text) {
    if (std::strchr(characters, c) != nullptr) safe += '\\';
    safe += c;
  }
  return safe;
}

// `words` are what may stand there; where nothing of it fits, bash completes files.
std::string bash() {
  std::string script =
      "# Completion of luxgrad for bash.\n_luxgrad() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  local words='" +
      joined(command_names()) +
      "'\n"
      "  if [ \"$COMP_CWORD\" -gt 1 ]; then case ${COMP_WORDS[1]} in\n";
  for (const CommandEntry& entry : commands()) {
    std::string names, values;
    for (const OptionText& option : options_of(entry)) {
      names += joined(typed(option)) + " ";
      if (!option.value.empty())
        values += cat("        ", joined(typed(option), "|"), ") words='", joined(option.words), "' ;;\n");
    }
    script += cat("    ", entry.name, ")\n      case $current in -*) words='", names, "' ;; *) words='",
                  joined(first_argument_of(entry).words), "' ;; esac\n");
    if (!values.empty()) script += cat("      case $before in\n", values, "      esac\n");
    script += "      ;;\n";
  }
  return script +
         "    *) words= ;;\n  esac; fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\n"
         "complete -o default -o bashdefault -F _luxgrad luxgrad";
}

std::string zsh() {
  std::string script = "#compdef luxgrad\n# Completion of luxgrad for zsh.\nlocal -a commands\ncommands=(\n";
  for (const CommandEntry& entry : commands())
    script += cat("  ", in_quotes(cat(entry.name, ":", entry.summary)), "\n");
  script += ")\nif (( CURRENT == 2 )); then\n  _describe command commands\n  return\nfi\ncase $words[2] in\n";
  for (const CommandEntry& entry : commands()) {
    const auto action = [](const OptionText& option) {
      if (option.words.empty()) return std::string(":_files");
      const char* const files = takes_files(option) ? "; _files" : "";
      return cat(":{ compadd -- ", joined(option.words), files, " }");
    };
    script += cat("  ", entry.name, ")\n    _arguments ",
                  in_quotes("*:argument" + action(first_argument_of(entry))));
    for (const OptionText& option : options_of(entry)) {
      for (const std::string& name : typed(option)) {
        std::string text = cat(name, "[", escaped(line_of(option), "]\\"), "]");
        if (!option.value.empty()) text += cat(":", escaped(option.value, ":\\"), action(option));
        script += cat(" \\\n      ", in_quotes(text));
      }
    }
    script += " ;;\n";
  }
  return script + "esac";
}

std::string fish() {
  std::string script = "# Completion of luxgrad for fish.\n";
  for (const CommandEntry& entry : commands()) {
    script += cat("complete -c luxgrad -n __fish_use_subcommand -a ", entry.name, " -d ",
                  in_quotes(entry.summary), "\n");
    const std::string begin =
        cat("complete -c luxgrad -n ", in_quotes(cat("__fish_seen_subcommand_from ", entry.name)));
    const OptionText first = first_argument_of(entry);
    if (!first.words.empty())
      script += cat(begin, takes_files(first) ? "" : " -f", " -a ", in_quotes(joined(first.words)), "\n");
    for (const OptionText& option : options_of(entry)) {
      script += begin;
      for (const std::string& name : option.long_names) script += cat(" -l ", name);
      for (const std::string& name : option.short_names) script += cat(" -s ", name);
      if (!option.value.empty()) script += takes_files(option) ? " -r" : " -x";
      if (!option.words.empty()) script += " -a " + in_quotes(joined(option.words));
      script += cat(" -d ", in_quotes(line_of(option)), "\n");
    }
  }
  script.pop_back();
  return script;
}

class Completion final : public Command {
 public:
  explicit Completion(CLI::App& app) {
    app.add_option("shell", shell_, "bash, zsh or fish")
        ->type_name("SHELL")
        ->check(offers({"bash", "zsh", "fish"}));
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
