#include "luxgrad/data/file_ops.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <memory>

namespace lux {
namespace {

FileOps system_ops;
FileOps* ops = &system_ops;

}  // namespace

FileOps& file_ops() { return *ops; }

void set_file_ops(FileOps* replacement) { ops = replacement != nullptr ? replacement : &system_ops; }

int FileOps::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
ssize_t FileOps::read(int descriptor, void* data, size_t bytes) { return ::read(descriptor, data, bytes); }
ssize_t FileOps::write(int descriptor, const void* data, size_t bytes) {
  return ::write(descriptor, data, bytes);
}
ssize_t FileOps::write_at(int descriptor, const void* data, size_t bytes, off_t offset) {
  return ::pwrite(descriptor, data, bytes, offset);
}
int FileOps::fstat(int descriptor, struct stat* status) { return ::fstat(descriptor, status); }
int FileOps::truncate(int descriptor, off_t length) { return ::ftruncate(descriptor, length); }
int FileOps::fsync(int descriptor) { return ::fsync(descriptor); }
int FileOps::close(int descriptor) { return ::close(descriptor); }
int FileOps::rename(const char* from, const char* to) { return std::rename(from, to); }
int FileOps::unlink(const char* path) { return ::unlink(path); }
int FileOps::mkdir(const char* path, mode_t mode) { return ::mkdir(path, mode); }
int FileOps::lock(int descriptor) { return ::flock(descriptor, LOCK_EX | LOCK_NB); }

std::optional<std::vector<std::string>> FileOps::list(const char* folder) {
  struct Closed {
    void operator()(DIR* stream) const { closedir(stream); }
  };
  std::unique_ptr<DIR, Closed> stream(opendir(folder));
  if (stream == nullptr) return std::nullopt;
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  const int reason = errno;
  stream.reset();
  errno = reason;
  if (reason != 0) return std::nullopt;
  return names;
}

int64_t FileOps::free_bytes(const char* folder) {
  struct statvfs status {};
  if (::statvfs(folder, &status) != 0) return -1;
  uint64_t bytes = 0;
  const bool huge = __builtin_mul_overflow(uint64_t{status.f_bavail}, uint64_t{status.f_frsize}, &bytes);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return huge ? kMost : static_cast<int64_t>(std::min(bytes, static_cast<uint64_t>(kMost)));
}

}  // namespace lux
