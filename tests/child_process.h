// Runs a program as a user does, and keeps what it said: exit code, standard output, standard error.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "luxgrad/tensor/error.h"

inline std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct ChildOptions {
  std::string folder = "";          ///< to run in; empty: here
  std::string input = "/dev/null";  ///< file on standard input
  std::string output = "";          ///< file for standard output instead of ChildResult::out
  std::map<std::string, std::string> environment = {};  ///< added to this process's
  bool closed_streams = false;                          ///< start with descriptors 0 to 2 closed
  std::string interrupt_at = "";                        ///< send SIGINT when this file has content
  rlim_t file_bytes = RLIM_INFINITY;                    ///< no file may become larger
  rlim_t address_bytes = RLIM_INFINITY;                 ///< memory
};

struct ChildResult {
  int code = -1;  ///< exit code, 128 + n after signal n
  std::string out;
  std::string err;
};

/// `scratch` is a folder for the captured streams.
inline ChildResult run_child(const std::string& scratch, std::vector<std::string> arguments,
                             const ChildOptions& options = {}) {
  const std::string out = options.output.empty() ? scratch + "/.stdout" : options.output;
  const std::string err = scratch + "/.stderr";
  const pid_t child = fork();
  lux::check(child >= 0, "fork failed");
  if (child == 0) {
    const auto redirect = [](const std::string& path, int flags, int to) {
      const int descriptor = open(path.c_str(), flags, 0600);
      if (descriptor < 0 || dup2(descriptor, to) < 0) _exit(99);
      close(descriptor);
    };
    redirect(options.input, O_RDONLY, STDIN_FILENO);
    redirect(out, O_WRONLY | O_CREAT | (options.output.empty() ? O_TRUNC : 0), STDOUT_FILENO);
    redirect(err, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    if (!options.folder.empty() && chdir(options.folder.c_str()) != 0) _exit(99);
    for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
    const auto limit = [](__rlimit_resource_t what, rlim_t to) {
      const rlimit both{to, to};
      if (to != RLIM_INFINITY && setrlimit(what, &both) != 0) _exit(99);
    };
    limit(RLIMIT_FSIZE, options.file_bytes);
    limit(RLIMIT_AS, options.address_bytes);
    if (options.closed_streams) {
      for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(descriptor);
    }
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    execv(pointers[0], pointers.data());
    _exit(99);
  }
  int status = 0;
  bool ended = false;
  if (!options.interrupt_at.empty()) {
    while (!ended && slurp(options.interrupt_at).empty()) {
      ended = waitpid(child, &status, WNOHANG) == child;
      usleep(1000);
    }
    if (!ended) kill(child, SIGINT);
  }
  while (!ended && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ChildResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (options.output.empty()) result.out = slurp(out);
  result.err = slurp(err);
  return result;
}
