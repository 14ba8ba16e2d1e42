// luxgrad: one binary, one subcommand per file. This file chooses the subcommand, and turns whatever happens
// into one sentence and an exit code.
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "luxgrad/data/file.h"
#include "luxgrad/tools/commands.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/stop.h"

namespace lux {
namespace {

/// Where there is no memory even for a message.
ExitCode report_without_memory() {
  constexpr std::string_view kSentence = "luxgrad: error: out of memory, none is left to say for what\n";
  (void)!write(STDERR_FILENO, kSentence.data(), kSentence.size());
  return ExitCode::exhausted;
}

std::atomic<bool> memory_was_wanted{false};
std::terminate_handler default_end = nullptr;

/// Where no exception may pass memory is wanted, too: before main, by statics of the libraries, and by some
/// of their functions.
void end_without_memory() {
  if (!memory_was_wanted) default_end();  // a fault of this program
  remove_unfinished_files();
  _exit(static_cast<int>(report_without_memory()));
}

[[gnu::constructor(101)]] void before_all_statics() {
  default_end = std::set_terminate(end_without_memory);
  std::set_new_handler([] {
    memory_was_wanted = true;
    throw std::bad_alloc();
  });
}

/// Files opened later must not become standard streams, whatever the caller closed.
void open_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    if (open("/dev/null", O_RDWR) != descriptor) _exit(static_cast<int>(ExitCode::exhausted));
  }
}

/// Large blocks go back to the system when they are freed. By default malloc keeps the more of them the
/// larger they were, and of small ones as much as each thread ever had, which nothing counts.
void give_back_what_is_freed() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 17);
  mallopt(M_ARENA_MAX, 1);
#endif
}

std::string overview() {
  std::string text =
      "luxgrad enhance -i dark.jpg -o bright.jpg\n\nBrightens dark photos and videos. Commands:\n";
  for (const CommandEntry& entry : commands()) {
    text += cat("  ", entry.name, std::string(12 - std::string(entry.name).size(), ' '), entry.summary, "\n");
  }
  return text + "\nluxgrad COMMAND --help tells more; luxgrad --version the version.\n" + kExitCodes;
}

const CommandEntry& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const CommandEntry& entry : commands()) {
    if (name == entry.name) return entry;
    names.emplace_back(entry.name);
  }
  const std::string meant = nearest(name, names);
  usage_error("unknown command ", name, meant.empty() ? "" : cat(", did you mean ", meant, "?"));
}

/// Parses and runs a subcommand; `arguments` are those behind its name.
ExitCode run_command(const CommandEntry& entry, std::vector<std::string> arguments) {
  CLI::App app(entry.summary, cat("luxgrad ", entry.name));
  begin_help_with(app, entry.example);
  app.set_help_flag("-h,--help", "Show this text");
  app.allow_extras();
  const std::unique_ptr<Command> command = entry.make(app);
  if (app.get_option_no_throw("--input") != nullptr) {
    for (std::string& argument : arguments) {  // CLI11 would take [a] for a list, but it may be a file
      if (argument.starts_with('[') && argument.ends_with(']')) argument.insert(0, "./");
    }
  }
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    print_result(app.help());
    return ExitCode::ok;
  } catch (const CLI::ParseError& error) {
    usage_error(error.what(), "; see luxgrad ", entry.name, " --help");
  }
  for (const std::string& extra : app.remaining()) {
    if (extra != "--") usage_error(unknown_argument(app, extra), "; see luxgrad ", entry.name, " --help");
  }
  return command->run();
}

ExitCode run(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    std::istringstream lines(overview());
    for (std::string line; std::getline(lines, line);) print_note(line);
    return ExitCode::usage;
  }
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h" || first == "help") {
    print_result(overview());
    return ExitCode::ok;
  }
  if (first == "--version") {
    print_result("luxgrad " LUX_VERSION);
    return ExitCode::ok;
  }
  return run_command(find_command(first), {arguments.begin() + 1, arguments.end()});
}

/// The code that `action` gives, or that of the error that it ends with, which is reported.
template <class F>
ExitCode code_of(F action) {
  try {
    return action();
  } catch (...) {
    try {
      const Failure failure = failure_of(std::current_exception());
      print_failure(failure);
      return failure.code;
    } catch (...) {
      return report_without_memory();
    }
  }
}

}  // namespace
}  // namespace lux

int main(int argc, char** argv) {
  lux::open_standard_streams();
  lux::give_back_what_is_freed();
  // A reader that leaves, or a file that reaches its limit, is an error of that write, not the end.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  lux::clean_up_on_signals();
  const lux::ExitCode code = lux::code_of([&] { return lux::run({argv + 1, argv + argc}); });
  const lux::ExitCode flushed = lux::code_of([] { return lux::flush_results(), lux::ExitCode::ok; });
  return static_cast<int>(code == lux::ExitCode::ok ? flushed : code);
}
