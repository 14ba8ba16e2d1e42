#include "luxgrad/data/byte_stream.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "luxgrad/data/file_ops.h"

namespace lux {
namespace {

constexpr size_t kAhead = 65536;
constexpr int kLookForStop = 50;  // milliseconds
constexpr const char* kReaderLeft = "has no reader any more";

}  // namespace

ByteSource::ByteSource(int descriptor, const std::atomic<bool>* stop)
    : descriptor_(descriptor), stop_(stop), buffer_(kAhead) {}

ByteSource::ByteSource(std::span<const uint8_t> bytes) : ahead_(bytes) {}

/// What the system has, up to all of `to`; 0 at the end.
size_t ByteSource::some(std::span<uint8_t> to) {
  while (descriptor_ >= 0) {
    if (stop_ != nullptr) {
      if (*stop_) return 0;
      pollfd wait{descriptor_, POLLIN, 0};
      if (poll(&wait, 1, kLookForStop) <= 0) continue;
    }
    const ssize_t got = file_ops().read(descriptor_, to.data(), to.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) refuse(FileErrorCode::unreadable, offset_, "cannot be read: ", std::strerror(errno));
  }
  return 0;
}

bool ByteSource::at_end() {
  if (ahead_.empty()) ahead_ = std::span<const uint8_t>(buffer_.data(), some(buffer_));
  return ahead_.empty();
}

void ByteSource::need(const char* what) {
  if (at_end()) refuse(FileErrorCode::truncated, offset_, "ends inside ", what);
}

uint8_t ByteSource::peek(const char* what) {
  need(what);
  return ahead_[0];
}

uint8_t ByteSource::u8(const char* what) {
  const uint8_t byte = peek(what);
  ahead_ = ahead_.subspan(1);
  ++offset_;
  return byte;
}

void ByteSource::read(std::span<uint8_t> to, const char* what) {
  while (!to.empty()) {
    size_t got = std::min(to.size(), ahead_.size());
    if (got > 0) {
      std::memcpy(to.data(), ahead_.data(), got);
      ahead_ = ahead_.subspan(got);
    } else if (to.size() >= kAhead && descriptor_ >= 0) {  // large pieces go where they belong at once
      got = some(to);
    } else {
      need(what);
      continue;
    }
    if (got == 0) refuse(FileErrorCode::truncated, offset_, "ends inside ", what);
    to = to.subspan(got);
    offset_ += static_cast<int64_t>(got);
  }
}

void ByteSource::append(std::vector<uint8_t>& to, int64_t count, const char* what) {
  const size_t end = to.size() + static_cast<size_t>(count);
  while (to.size() < end) {
    const size_t begin = to.size(), room = std::max({to.capacity(), 2 * begin, kAhead});
    to.resize(std::min(end, room));
    read(std::span<uint8_t>(to).subspan(begin), what);
  }
}

void ByteSource::skip(int64_t count, const char* what) {
  while (count > 0) {
    need(what);
    const size_t passed = std::min(static_cast<size_t>(count), ahead_.size());
    ahead_ = ahead_.subspan(passed);
    offset_ += static_cast<int64_t>(passed);
    count -= static_cast<int64_t>(passed);
  }
}

Result<bool> write_bytes(int descriptor, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) return FileError{FileErrorCode::unwritable, "", -1, kReaderLeft};
    if (written <= 0)
      return FileError{FileErrorCode::unwritable, "", -1, cat("cannot be written: ", std::strerror(errno))};
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

bool reader_left(const FileError& error) { return error.reason == kReaderLeft; }

}  // namespace lux
