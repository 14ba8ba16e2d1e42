// luxgrad man: manual pages, made of what --help says.
#include <CLI/CLI.hpp>

#include "luxgrad/tools/commands.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/words.h"

namespace lux {
namespace {

/// The text as roff prints it: no requests, no escapes, dashes that can be copied.
std::string roff(const std::string& text) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((i == 0 || text[i - 1] == '\n') && (c == '.' || c == '\'')) safe += "\\&";
    if (c == '\\' || c == '-') safe += '\\';
    safe += c == '\\' ? 'e' : c;
  }
  return safe;
}

std::string head(const std::string& name, const std::string& summary, const std::string& synopsis) {
  return cat(".TH ", roff(name), " 1\n.SH NAME\n", roff(name), " \\- ", roff(summary), "\n.SH SYNOPSIS\n",
             synopsis, "\n");
}

std::string page_of(const CommandEntry& entry) {
  std::string summary = entry.summary;
  summary.pop_back();  // without the full stop
  std::string page =
      head(cat("luxgrad-", entry.name), summary, cat(".B luxgrad ", roff(entry.name), "\n[options]"));
  page += ".SH OPTIONS\n";
  for (const OptionText& option : options_of(entry)) {
    std::string names;
    for (const std::string& name : option.short_names) names += cat(names.empty() ? "" : ", ", "-", name);
    for (const std::string& name : option.long_names) names += cat(names.empty() ? "" : ", ", "--", name);
    page += cat(".TP\n\\fB", roff(names), "\\fR \\fI", roff(option.value), "\\fR\n", roff(option.description),
                "\n");
  }
  page += cat(".SH EXAMPLES\n.nf\n", roff(entry.example), "\n.fi\n.SH EXIT STATUS\n", roff(kExitCodes),
              "\n.SH SEE ALSO\n.BR luxgrad (1)");
  return page;
}

std::string overview() {
  std::string page = head("luxgrad", "brighten dark photos and videos", ".B luxgrad\n.I command\n[options]");
  page += ".SH COMMANDS\n";
  for (const CommandEntry& entry : commands())
    page += cat(".TP\n.BR luxgrad\\-", roff(entry.name), " (1)\n", roff(entry.summary), "\n");
  return page + cat(".SH EXIT STATUS\n", roff(kExitCodes));
}

class Man final : public Command {
 public:
  explicit Man(CLI::App& app) {
    app.add_option("command", command_, "Of which command; without one, of the program")
        ->type_name("COMMAND")
        ->check(offers(command_names()));
  }

  ExitCode run() override {
    if (command_.empty()) {
      print_result(overview());
      return ExitCode::ok;
    }
    for (const CommandEntry& entry : commands()) {
      if (command_ != entry.name) continue;
      print_result(page_of(entry));
      return ExitCode::ok;
    }
    const std::string meant = nearest(command_, command_names());
    usage_error("unknown command ", command_, meant.empty() ? "" : cat(", did you mean ", meant, "?"));
  }

 private:
  std::string command_;
};

}  // namespace

std::unique_ptr<Command> make_man(CLI::App& app) { return std::make_unique<Man>(app); }

}  // namespace lux
