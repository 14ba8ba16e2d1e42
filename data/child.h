// Another program as a child of this one, with pipes to its input and output. What it has to say is kept, its
// means are limited, and it never outlives the object.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

struct ChildSpec {
  std::vector<std::string> arguments;  ///< the first is looked for in $PATH
  bool input = false;                  ///< a pipe to its standard input; else that is empty
  bool output = false;                 ///< a pipe from its standard output; else that goes nowhere
  int output_file = -1;                ///< a descriptor that it has as standard output instead
  int64_t memory_bytes = 0;            ///< of addresses; 0: no limit
  int64_t cpu_seconds = 0;             ///< 0: no limit
};

/// A program at work. It has its own process group, so that Ctrl-C on a terminal reaches this program alone,
/// and may gain no privileges.
class Child {
 public:
  /// FileErrorCode::missing where there is no such program. Throws OutOfMemory, and std::system_error where
  /// descriptors, processes or threads are used up.
  static Result<Child> start(const ChildSpec& spec);

  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  /// Ends it by force.
  ~Child();

  /// Its standard input and output, as descriptors here; -1 where there is no pipe.
  int input() const { return input_; }
  int output() const { return output_; }
  /// Lets it see the end of its input.
  void close_input();
  /// Reads no more of its output, so that it cannot wait for that.
  void close_output();
  /// Waits until it has said something on its standard output, where that is a pipe, has read all of its
  /// input and does nothing but wait for more, or a time that is long for that.
  void settle() const;
  /// Asks it to stop, as Ctrl-C would.
  void interrupt() const;
  /// Waits for its end. The exit code, 128 + n after signal n.
  int wait();

  /// What it said on standard error so far: the first line, and how many there are.
  std::string first_complaint() const;
  std::string last_complaint() const;  ///< the last whole line
  int64_t complaints() const;

 private:
  struct Listener;
  Child();

  pid_t process_ = -1;
  int input_ = -1, output_ = -1;
  std::unique_ptr<Listener> listener_;
  std::string first_, last_;  // what the listener heard
  int64_t lines_ = 0;
};

}  // namespace lux
