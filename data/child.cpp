#include "luxgrad/data/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "luxgrad/tensor/blocked_signals.h"

namespace lux {
namespace {

constexpr size_t kLongestComplaint = 400;
constexpr size_t kLongestLine = PATH_MAX + kLongestComplaint;  // names a file to its end
constexpr int kPipeBytes = 1 << 20;  // room for some frames, so that both sides work at the same time

void close_one(int& descriptor) {
  if (descriptor >= 0) close(std::exchange(descriptor, -1));
}

/// Both ends of a pipe, closed unless they are taken.
struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_one(read_end);
    close_one(write_end);
  }
  bool open() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read_end = ends[0];
    write_end = ends[1];
    fcntl(write_end, F_SETPIPE_SZ, kPipeBytes);  // less where the system gives less
    return true;
  }
};

void limit(__rlimit_resource_t what, int64_t to) {
  const rlimit both{static_cast<rlim_t>(to), static_cast<rlim_t>(to)};
  if (to > 0) setrlimit(what, &both);
}

/// Whether something can be read; true of what is no pipe.
bool has_spoken(int output) {
  pollfd look{output, POLLIN, 0};
  return output < 0 || poll(&look, 1, 0) > 0;
}

/// Whether every thread of a process waits for something.
bool all_asleep(pid_t process) {
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator(cat("/proc/", process, "/task"), gone)) {
    std::ifstream file(thread.path() / "stat");
    std::string line;
    std::getline(file, line);
    const size_t name_end = line.rfind(") ");  // the state stands behind the name, which may hold anything
    if (name_end != std::string::npos && line[name_end + 2] != 'S' && line[name_end + 2] != 'Z') return false;
  }
  return true;
}

/// In the child, where only few functions are safe: becomes the program, or reports errno.
[[noreturn]] void become(const ChildSpec& spec, char* const* arguments, int input, int output, int errors,
                         int report) {
  setpgid(0, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const rlimit no_dumps{0, 0};
  setrlimit(RLIMIT_CORE, &no_dumps);
  limit(RLIMIT_AS, spec.memory_bytes);
  limit(RLIMIT_CPU, spec.cpu_seconds);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) std::signal(number, SIG_DFL);
  if (dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0)
    execvp(arguments[0], arguments);
  const int reason = errno;
  (void)!write(report, &reason, sizeof reason);
  _exit(127);
}

}  // namespace

/// Reads the child's standard error to its end, so that it never waits for a reader.
struct Child::Listener {
  explicit Listener(int from) : descriptor(from) {
    first.reserve(kLongestComplaint);  // the thread must not run out of memory
    last.reserve(kLongestLine);
    line.reserve(kLongestLine);
    const BlockedSignals blocked;
    thread = std::thread([this] { listen(); });
  }
  ~Listener() {
    join();
    close(descriptor);
  }
  void join() {
    if (thread.joinable()) thread.join();
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void listen() {
    std::array<char, 4096> part{};
    for (;;) {
      const ssize_t got = read(descriptor, part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return;
      const std::lock_guard lock(mutex);
      for (size_t i = 0; i < static_cast<size_t>(got); ++i) {
        if (part[i] == '\n' || part[i] == '\r') {
          ++lines;
          last.swap(line);
          line.clear();
          continue;
        }
        if (lines == 0 && first.size() < kLongestComplaint) first += part[i];
        if (line.size() < kLongestLine) line += part[i];
      }
    }
  }

  int descriptor;
  std::mutex mutex;
  std::string first, last, line;
  int64_t lines = 0;
  std::thread thread;
};

Child::Child() = default;

Result<Child> Child::start(const ChildSpec& spec) {
  const std::string& program = spec.arguments.front();
  const auto failed = [&](const char* what, int reason) {
    if (reason == ENOMEM) throw OutOfMemory(cat(program, ": no memory left to start it"));
    if (reason == EMFILE || reason == ENFILE || reason == EAGAIN)  // nothing is wrong with any file
      throw std::system_error(reason, std::generic_category(), cat(program, ": ", what));
    return FileError{FileErrorCode::unreadable, program, -1, cat(what, ": ", std::strerror(reason))};
  };
  Pipe input, output, errors, report;
  if ((spec.input && !input.open()) || (spec.output && !output.open()) || !errors.open() || !report.open())
    return failed("no pipe to it", errno);
  Pipe nowhere;
  nowhere.read_end = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nowhere.read_end >= 0) nowhere.write_end = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere.write_end < 0) return failed("/dev/null cannot be opened", errno);
  std::vector<char*> arguments;
  arguments.reserve(spec.arguments.size() + 1);
  for (const std::string& argument : spec.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  Child child;
  child.process_ = fork();
  if (child.process_ < 0) return failed("cannot be started", errno);
  if (child.process_ == 0) {
    const int to = spec.output             ? output.write_end
                   : spec.output_file >= 0 ? spec.output_file
                                           : nowhere.write_end;
    become(spec, arguments.data(), spec.input ? input.read_end : nowhere.read_end, to, errors.write_end,
           report.write_end);
  }
  close_one(report.write_end);
  close_one(errors.write_end);
  child.listener_ = std::make_unique<Listener>(std::exchange(errors.read_end, -1));
  int reason = 0;
  ssize_t told = 0;
  do told = read(report.read_end, &reason, sizeof reason);
  while (told < 0 && errno == EINTR);
  if (told > 0) {  // the end of this pipe is the start of the program
    child.wait();
    if (reason == ENOENT)
      return FileError{FileErrorCode::missing, program, -1, "is a program that is not installed"};
    return failed("cannot be started", reason);
  }
  child.input_ = std::exchange(input.write_end, -1);
  child.output_ = std::exchange(output.read_end, -1);
  return child;
}

Child::Child(Child&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      input_(std::exchange(other.input_, -1)),
      output_(std::exchange(other.output_, -1)),
      listener_(std::move(other.listener_)),
      first_(std::move(other.first_)),
      last_(std::move(other.last_)),
      lines_(other.lines_) {}

Child::~Child() {
  close_one(input_);
  close_one(output_);
  if (process_ > 0) {
    kill(process_, SIGKILL);
    wait();
  }
}

void Child::close_input() { close_one(input_); }
void Child::close_output() { close_one(output_); }

void Child::settle() const {
  constexpr int kLooks = 1500, kInARow = 3;
  for (int look = 0, calm = 0; look < kLooks && calm < kInARow; ++look) {
    int waiting = 0;
    const bool read = ioctl(input_, FIONREAD, &waiting) != 0 || waiting == 0;
    calm = read && has_spoken(output_) && all_asleep(process_) ? calm + 1 : 0;
    usleep(20'000);
  }
}

void Child::interrupt() const {
  if (process_ > 0) kill(process_, SIGINT);
}

int Child::wait() {
  int status = 0;
  while (process_ > 0 && waitpid(process_, &status, 0) < 0) {
    if (errno != EINTR) break;
  }
  process_ = -1;
  if (listener_ != nullptr) {
    listener_->join();  // all was said
    first_ = std::move(listener_->first);
    last_ = std::move(listener_->last);
    lines_ = listener_->lines;
    listener_.reset();
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string Child::first_complaint() const {
  if (listener_ == nullptr) return first_;
  const std::lock_guard lock(listener_->mutex);
  return listener_->first;
}

std::string Child::last_complaint() const {
  if (listener_ == nullptr) return last_;
  const std::lock_guard lock(listener_->mutex);
  return listener_->last;
}

int64_t Child::complaints() const {
  if (listener_ == nullptr) return lines_;
  const std::lock_guard lock(listener_->mutex);
  return listener_->lines;
}

}  // namespace lux
