// Whole files in and out: read with a limit, written so that a reader sees the old bytes or the new ones,
// never a part.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

inline constexpr int64_t kMaxFileBytes = int64_t{4} << 30;

/// All bytes of a regular file, or of standard input for "-". Refuses directories, pipes, devices, and more
/// than `max_bytes`; never blocks on a pipe.
Result<std::vector<uint8_t>> read_file(const std::string& path, int64_t max_bytes = kMaxFileBytes);

/// Writes a temporary file beside `path`, flushes it to the disk, and renames it onto `path`. On failure
/// `path` is what it was, and the temporary file is gone. Refuses a `path` that is a directory, pipe or
/// device; a symbolic link is replaced, not followed. Returns the number of bytes.
Result<int64_t> write_file_atomically(const std::string& path, std::span<const uint8_t> bytes);

/// The system calls that writing goes through. Tests derive from it to inject faults.
struct FileOps {
  virtual ~FileOps() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t write(int descriptor, const void* data, size_t bytes);
  virtual int fsync(int descriptor);
  virtual int close(int descriptor);
  virtual int rename(const char* from, const char* to);
  virtual int unlink(const char* path);
};

/// Lets all writing from now on go through `ops`; null restores the system's. Not thread-safe.
void set_file_ops(FileOps* ops);

}  // namespace lux
