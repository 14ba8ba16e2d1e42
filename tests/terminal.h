// A terminal that nobody sits at: its path for a child's standard error, and what the child drew on it.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "luxgrad/tensor/error.h"

/// Takes about 4,000 bytes, then whoever draws waits.
class Terminal {
 public:
  /// `columns` 0: it does not say how wide it is.
  explicit Terminal(int columns = 0) : reader_(posix_openpt(O_RDWR | O_NOCTTY)) {
    lux::check(reader_ >= 0 && grantpt(reader_) == 0 && unlockpt(reader_) == 0, "no pseudo-terminal");
    winsize size{};
    size.ws_col = static_cast<unsigned short>(columns);
    lux::check(ioctl(reader_, TIOCSWINSZ, &size) == 0, "no size for a pseudo-terminal");
    path_ = ptsname(reader_);
    writer_ = open(path_.c_str(), O_RDWR | O_NOCTTY);  // what is drawn stays until it is read
    lux::check(writer_ >= 0, "no pseudo-terminal at ", path_);
    fcntl(reader_, F_SETFL, O_NONBLOCK);
  }
  ~Terminal() {
    close(writer_);
    close(reader_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  const std::string& path() const { return path_; }

  /// Everything drawn since the last call.
  std::string drawn() const {
    std::string text;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = read(reader_, part.data(), part.size())) > 0;)
      text.append(part.data(), static_cast<size_t>(got));
    return text;
  }

 private:
  int reader_, writer_ = -1;
  std::string path_;
};
