// The one door to the disk: every system call by which files and logs are written, folders listed or changed,
// and whole files read. Beside it pass only streams of frames (data/byte_stream.h) and what asks for the kind
// of a file.
//
// Whole files (data/file.h) and folders (data/folder.h) are built on it. A test that stands in this door can
// fail any call, end the process there, or keep a record from which every state of a disk that lost its power
// follows.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lux {

/// The system's calls; they report errors as those do, by -1 (or nothing) and errno.
struct FileOps {
  virtual ~FileOps() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t read(int descriptor, void* data, size_t bytes);
  virtual ssize_t write(int descriptor, const void* data, size_t bytes);
  virtual ssize_t write_at(int descriptor, const void* data, size_t bytes, off_t offset);
  virtual int fstat(int descriptor, struct stat* status);
  virtual int truncate(int descriptor, off_t length);
  virtual int fsync(int descriptor);
  virtual int close(int descriptor);
  virtual int rename(const char* from, const char* to);
  virtual int unlink(const char* path);
  virtual int mkdir(const char* path, mode_t mode);
  /// Takes the lock of an open file for this process alone, at once or not at all (EWOULDBLOCK).
  virtual int lock(int descriptor);
  /// Names in a folder, in no order, without . and ..
  virtual std::optional<std::vector<std::string>> list(const char* folder);
  /// Bytes that this user may still write where `folder` lies; -1 where that is not known.
  virtual int64_t free_bytes(const char* folder);
};

FileOps& file_ops();

/// Lets everything from now on go through `ops`; null restores the system's. Not thread-safe.
void set_file_ops(FileOps* ops);

/// Repeats a call that a signal interrupted. Not for `close`, which has closed even then.
template <class Call>
auto repeated(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace lux
