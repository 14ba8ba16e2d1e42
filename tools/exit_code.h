// What `luxgrad` tells a script: one number per kind of outcome, and the exceptions that stand for them.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

enum class ExitCode : int {
  ok = 0,
  some_failed = 1,  ///< several inputs, some refused; the others were done
  usage = 2,        ///< the command line makes no sense
  refused = 3,      ///< an input cannot be read, or is refused
  mismatch = 4,  ///< sound weights that do not fit the model, or a run folder that is another run's or in use
  stopped = 5,   ///< numbers left the finite range, or the requested device is missing
  exhausted = 6,     ///< out of memory or disk, or an output that cannot be written
  check_failed = 7,  ///< a check that was asked for did not pass
};

/// An error of a command with its outcome, and a list where one sentence does not tell all.
class CommandError : public Error {
 public:
  CommandError(ExitCode code, const std::string& message, std::vector<std::string> details = {})
      : Error(message), code_(code), details_(std::move(details)) {}
  ExitCode code() const { return code_; }
  const std::vector<std::string>& details() const { return details_; }

 private:
  ExitCode code_;
  std::vector<std::string> details_;
};

template <class... Parts>
[[noreturn]] void usage_error(const Parts&... parts) {
  throw CommandError(ExitCode::usage, cat(parts...));
}

template <class... Parts>
void check_usage(bool ok, const Parts&... parts) {
  if (!ok) usage_error(parts...);
}

/// A network's result that is not finite.
class NotFinite : public CommandError {
 public:
  using CommandError::CommandError;
};

/// Throws NotFinite, of the picture or film `name`.
[[noreturn]] void throw_not_finite(const std::string& name);
/// The same where it is not finite.
void check_finite(const Tensor& result, const std::string& name);

/// An exception as a person and a script see it.
struct Failure {
  ExitCode code;
  std::string message;                 ///< printable
  std::vector<std::string> details{};  ///< printable, a line each
  bool out_of_memory = false;          ///< of the host, and nobody has said how much is needed
};
Failure failure_of(const std::exception_ptr& error);

}  // namespace lux
