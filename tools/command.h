// A subcommand of `luxgrad`: it declares its options on a CLI::App and runs when they are parsed.
#pragma once

#include <memory>

#include "luxgrad/tools/exit_code.h"

namespace CLI {
class App;
}

namespace lux {

class Command {
 public:
  Command() = default;
  virtual ~Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  /// Throws what `failure_of` explains.
  virtual ExitCode run() = 0;
};

// Each declares its options on `app`, whose parsing fills the command that is returned.
std::unique_ptr<Command> make_enhance(CLI::App& app);
std::unique_ptr<Command> make_video(CLI::App& app);
std::unique_ptr<Command> make_evaluate(CLI::App& app);
std::unique_ptr<Command> make_pack(CLI::App& app);
std::unique_ptr<Command> make_train(CLI::App& app);
std::unique_ptr<Command> make_gradcheck(CLI::App& app);
std::unique_ptr<Command> make_parity(CLI::App& app);
std::unique_ptr<Command> make_info(CLI::App& app);
std::unique_ptr<Command> make_verify(CLI::App& app);
std::unique_ptr<Command> make_convert(CLI::App& app);
std::unique_ptr<Command> make_bench(CLI::App& app);
std::unique_ptr<Command> make_lut(CLI::App& app);
std::unique_ptr<Command> make_completion(CLI::App& app);
std::unique_ptr<Command> make_man(CLI::App& app);

}  // namespace lux
