#include "luxgrad/data/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace lux {
namespace {

FileOps system_ops;
FileOps* ops = &system_ops;

FileError system_error(FileErrorCode code, const std::string& path, const std::string& action) {
  return {code, path, -1, cat(action, ": ", std::strerror(errno))};
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

FileError not_regular(FileErrorCode code, const std::string& path, mode_t mode) {
  return {code, path, -1, cat("is ", kind_of(mode), ", expected a regular file")};
}

FileError over_limit(const std::string& path, int64_t max_bytes) {
  return {FileErrorCode::too_large, path, -1, cat("is larger than the limit of ", max_bytes, " bytes")};
}

/// Reads to the end, starting with room for `expected` bytes.
Result<std::vector<uint8_t>> read_to_end(int descriptor, const std::string& path, int64_t expected,
                                         int64_t max_bytes) {
  std::vector<uint8_t> bytes;
  size_t filled = 0;
  for (;;) {
    // One byte of room beyond the expected end lets the last read see the end of the file.
    if (filled == bytes.size()) bytes.resize(filled == 0 ? static_cast<size_t>(expected) + 1 : 2 * filled);
    const ssize_t got = read(descriptor, bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(FileErrorCode::unreadable, path, "cannot be read");
    if (got == 0) break;
    filled += static_cast<size_t>(got);
    if (static_cast<int64_t>(filled) > max_bytes) return over_limit(path, max_bytes);
  }
  bytes.resize(filled);
  return bytes;
}

bool write_fully(int descriptor, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ops->write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written == 0) errno = ENOSPC;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

/// Makes the directory's new entry durable. File systems that cannot do this say EINVAL.
bool sync_directory(const std::string& directory) {
  const int descriptor = ops->open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (descriptor < 0) return errno == EACCES;  // a folder one may write to but not list
  const bool ok = ops->fsync(descriptor) == 0 || errno == EINVAL;
  const int reason = errno;
  ops->close(descriptor);
  errno = reason;
  return ok;
}

/// Opens a new file beside the target; `name` receives its path.
int open_temporary(const std::string& directory, const std::string& target, std::string& name) {
  static std::atomic<unsigned> serial{0};
  for (int attempts = 0; attempts < 1000; ++attempts) {
    name = cat(directory, ".", target.substr(0, 200), ".tmp.", getpid(), ".", serial++);
    const int descriptor =
        ops->open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor >= 0 || (errno != EEXIST && errno != EINTR)) return descriptor;
  }
  return -1;
}

}  // namespace

int FileOps::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
ssize_t FileOps::write(int descriptor, const void* data, size_t bytes) {
  return ::write(descriptor, data, bytes);
}
int FileOps::fsync(int descriptor) { return ::fsync(descriptor); }
int FileOps::close(int descriptor) { return ::close(descriptor); }
int FileOps::rename(const char* from, const char* to) { return std::rename(from, to); }
int FileOps::unlink(const char* path) { return ::unlink(path); }

void set_file_ops(FileOps* replacement) { ops = replacement != nullptr ? replacement : &system_ops; }

Result<std::vector<uint8_t>> read_file(const std::string& path, int64_t max_bytes) {
  if (path == "-") return read_to_end(STDIN_FILENO, "standard input", 64 * 1024, max_bytes);
  if (path.empty() || path.find('\0') != std::string::npos) {
    return FileError{FileErrorCode::missing, path, -1, "the name of the file is empty or has a zero byte"};
  }
  // O_NONBLOCK: opening a pipe without a writer must not hang; regular files ignore it.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    return system_error(missing ? FileErrorCode::missing : FileErrorCode::unreadable, path,
                        "cannot be opened");
  }
  struct stat status {};
  Result<std::vector<uint8_t>> result = [&]() -> Result<std::vector<uint8_t>> {
    if (fstat(descriptor, &status) != 0)
      return system_error(FileErrorCode::unreadable, path, "cannot be read");
    if (!S_ISREG(status.st_mode)) return not_regular(FileErrorCode::unreadable, path, status.st_mode);
    if (status.st_size > max_bytes) return over_limit(path, max_bytes);
    return read_to_end(descriptor, path, status.st_size, max_bytes);
  }();
  close(descriptor);
  return result;
}

Result<int64_t> write_file_atomically(const std::string& path, std::span<const uint8_t> bytes) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "./" : path.substr(0, slash + 1);
  const std::string target = slash == std::string::npos ? path : path.substr(slash + 1);
  if (target.empty() || target == "." || target == ".." || path.find('\0') != std::string::npos) {
    return FileError{FileErrorCode::unwritable, path, -1, "is not the name of a file"};
  }
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return not_regular(FileErrorCode::unwritable, path, status.st_mode);
  }

  std::string temporary;
  const int descriptor = open_temporary(directory, target, temporary);
  if (descriptor < 0) return system_error(FileErrorCode::unwritable, path, "cannot be created");
  const auto give_up = [&](const char* action) {
    const FileError error = system_error(FileErrorCode::unwritable, path, action);
    ops->unlink(temporary.c_str());
    return error;
  };
  // A failed flush is final: the kernel may have dropped the bytes, and a second try would report success.
  const bool written = write_fully(descriptor, bytes) && ops->fsync(descriptor) == 0;
  const int reason = errno;
  const bool closed = ops->close(descriptor) == 0;
  if (!written) {
    errno = reason;
    return give_up("cannot be written");
  }
  if (!closed) return give_up("cannot be written");
  if (ops->rename(temporary.c_str(), path.c_str()) != 0) return give_up("cannot be replaced");
  if (!sync_directory(directory)) {
    return system_error(FileErrorCode::unwritable, path, "was written, but its folder cannot be flushed");
  }
  return static_cast<int64_t>(bytes.size());
}

}  // namespace lux
