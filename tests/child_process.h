// Runs a program as a user does, and keeps what it said: exit code, standard output, standard error.
#pragma once

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
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

/// Sends signals as soon as a file has so many lines, or a folder a file that is being written.
struct Interruption {
  std::string file = "";  ///< or folder; empty: no interruption
  int64_t lines = 1;
  std::vector<int> signals = {SIGINT};  ///< each as soon as the child has met the one before
  useconds_t delay = 0;                 ///< microseconds before the first
  useconds_t gap = 0;                   ///< more microseconds between two
};

struct ChildOptions {
  std::string folder = "";          ///< to run in; empty: here
  std::string input = "/dev/null";  ///< file on standard input
  std::string output = "";          ///< file for standard output instead of ChildResult::out
  std::string terminal = "";        ///< for standard error instead of ChildResult::err
  std::map<std::string, std::string> environment = {};  ///< added to this process's
  std::vector<int> closed = {};                         ///< descriptors to start without
  bool obedient = false;                                ///< permissions of files hold for root, too
  Interruption interruption = {};
  rlim_t file_bytes = RLIM_INFINITY;     ///< no file may become larger
  rlim_t address_bytes = RLIM_INFINITY;  ///< memory
};

struct ChildResult {
  int code = -1;  ///< exit code, 128 + n after signal n
  std::string out;
  std::string err;
  int64_t lines = 0;  ///< of the file of the interruption, right after the last signal
};

/// True while a signal to a process waits for it to run.
inline bool signal_waits(pid_t process) {
  const std::string status = slurp(lux::cat("/proc/", process, "/status")), key = "\nShdPnd:\t";
  const size_t at = status.find(key);
  return at != std::string::npos && std::stoull(status.substr(at + key.size()), nullptr, 16) != 0;
}

/// How many files of a folder are not finished yet.
inline std::ptrdiff_t being_written(const std::string& folder) {
  const std::filesystem::directory_iterator files(folder);
  return std::count_if(begin(files), end(files), [](const auto& entry) {
    return entry.path().filename().native().find(".tmp.") != std::string::npos;
  });
}

/// `scratch` is a folder for the captured streams.
inline ChildResult run_child(const std::string& scratch, std::vector<std::string> arguments,
                             const ChildOptions& options = {}) {
  const std::string out = options.output.empty() ? scratch + "/.stdout" : options.output;
  const std::string err = options.terminal.empty() ? scratch + "/.stderr" : options.terminal;
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
    redirect(err, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, STDERR_FILENO);
    if (!options.folder.empty() && chdir(options.folder.c_str()) != 0) _exit(99);
    for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
    const auto limit = [](__rlimit_resource_t what, rlim_t to) {
      const rlimit both{to, to};
      if (to != RLIM_INFINITY && setrlimit(what, &both) != 0) _exit(99);
    };
    limit(RLIMIT_FSIZE, options.file_bytes);
    // Line counts that the limit cuts (tools/coverage.sh) are not added to those of other processes.
    if (options.file_bytes != RLIM_INFINITY) setenv("GCOV_PREFIX", scratch.c_str(), 1);
    limit(RLIMIT_AS, options.address_bytes);
    if (options.obedient) {
      prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
      prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH);
    }
    // A suite that runs in the background inherits signals that are ignored.
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) std::signal(number, SIG_DFL);
    for (const int descriptor : options.closed) close(descriptor);
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    execv(pointers[0], pointers.data());
    _exit(99);
  }
  int status = 0;
  bool ended = false;
  ChildResult result;
  if (const Interruption& when = options.interruption; !when.file.empty()) {
    const auto lines = [&when] {
      if (std::filesystem::is_directory(when.file)) return being_written(when.file);
      const std::string text = slurp(when.file);
      return std::count(text.begin(), text.end(), '\n');
    };
    while (!ended && lines() < when.lines) {
      ended = waitpid(child, &status, WNOHANG) == child;
      usleep(1000);
    }
    usleep(when.delay);
    for (size_t i = 0; i < when.signals.size() && !ended; ++i) {
      while (i > 0 && signal_waits(child)) usleep(100);
      if (i > 0) usleep(when.gap);
      kill(child, when.signals[i]);
    }
    result.lines = lines();
  }
  while (!ended && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (options.output.empty()) result.out = slurp(out);
  if (options.terminal.empty()) result.err = slurp(err);
  return result;
}
