#include "luxgrad/tools/watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "luxgrad/tools/exit_code.h"

namespace lux {
namespace {

constexpr int kLookForStop = 50;  // milliseconds

}  // namespace

FolderWatch::FolderWatch(const std::string& folder) : descriptor_(inotify_init1(IN_CLOEXEC)) {
  if (descriptor_ >= 0 &&
      inotify_add_watch(descriptor_, folder.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR) >= 0)
    return;
  const std::string reason = std::strerror(errno);
  if (descriptor_ >= 0) close(descriptor_);
  throw CommandError(ExitCode::refused, cat(folder, ": cannot be watched: ", reason));
}

FolderWatch::~FolderWatch() { close(descriptor_); }

std::optional<std::string> FolderWatch::next(const std::atomic<bool>& stop) {
  do {
    if (stop) return {};
    take_events(names_.empty() ? kLookForStop : 0);
  } while (names_.empty());
  std::string name = std::move(names_.front());
  names_.pop_front();
  return name;
}

void FolderWatch::take_events(int milliseconds) {
  pollfd wait{descriptor_, POLLIN, 0};
  if (poll(&wait, 1, milliseconds) <= 0) return;
  alignas(inotify_event) std::array<char, 16384> bytes{};
  const ssize_t got = read(descriptor_, bytes.data(), bytes.size());
  for (ssize_t at = 0; at + static_cast<ssize_t>(sizeof(inotify_event)) <= got;) {
    inotify_event event{};
    std::memcpy(&event, bytes.data() + at, sizeof event);
    const char* const name = bytes.data() + at + sizeof event;
    if (event.len > 0 && *name != '.') names_.emplace_back(name);
    if ((event.mask & IN_Q_OVERFLOW) != 0) missed_ = true;
    at += static_cast<ssize_t>(sizeof event + event.len);
  }
}

}  // namespace lux
