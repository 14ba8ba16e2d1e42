// Stands in the door to the disk (data/file_ops.h): fakes that fail a call, end the process at it, or count.
#pragma once

#include <algorithm>
#include <cerrno>
#include <string>

#include "luxgrad/data/file_ops.h"

/// Lets every file operation of a scope go through `ops`.
struct OpsScope {
  explicit OpsScope(lux::FileOps& ops) { lux::set_file_ops(&ops); }
  ~OpsScope() { lux::set_file_ops(nullptr); }
  OpsScope(const OpsScope&) = delete;
  OpsScope& operator=(const OpsScope&) = delete;
};

/// The system's calls without the wait for the disk, which no process can see while the system runs.
struct Unflushed : lux::FileOps {
  int fsync(int) override { return 0; }
};

/// The same, each announced to `before`, which may make it fail.
class WatchedOps : public Unflushed {
 public:
  size_t chunk = SIZE_MAX;  ///< `write` takes at most so many bytes

  int open(const char* path, int flags, mode_t mode) override {
    return fails("open") ? -1 : FileOps::open(path, flags, mode);
  }
  ssize_t read(int descriptor, void* data, size_t bytes) override {
    return fails("read") ? -1 : FileOps::read(descriptor, data, bytes);
  }
  int fstat(int descriptor, struct stat* status) override {
    return fails("fstat") ? -1 : FileOps::fstat(descriptor, status);
  }
  ssize_t write(int descriptor, const void* data, size_t bytes) override {
    return fails("write") ? -1 : FileOps::write(descriptor, data, std::min(bytes, chunk));
  }
  ssize_t write_at(int descriptor, const void* data, size_t bytes, off_t offset) override {
    return fails("write_at") ? -1 : FileOps::write_at(descriptor, data, std::min(bytes, chunk), offset);
  }
  int truncate(int descriptor, off_t length) override {
    return fails("truncate") ? -1 : FileOps::truncate(descriptor, length);
  }
  int fsync(int descriptor) override { return fails("fsync") ? -1 : Unflushed::fsync(descriptor); }
  int close(int descriptor) override {  // as Linux does: closed even where it reports a failure
    const bool failed = fails("close");
    const int reason = errno, result = FileOps::close(descriptor);
    if (failed) errno = reason;
    return failed ? -1 : result;
  }
  int rename(const char* from, const char* to) override {
    return fails("rename") ? -1 : FileOps::rename(from, to);
  }
  int unlink(const char* path) override { return fails("unlink") ? -1 : FileOps::unlink(path); }
  int mkdir(const char* path, mode_t mode) override {
    return fails("mkdir") ? -1 : FileOps::mkdir(path, mode);
  }
  int lock(int descriptor) override { return fails("lock") ? -1 : FileOps::lock(descriptor); }
  std::optional<std::vector<std::string>> list(const char* folder) override {
    return fails("list") ? std::nullopt : FileOps::list(folder);
  }

 protected:
  /// The errno with which the call that comes next fails, or 0.
  virtual int before(const std::string& call) = 0;

 private:
  bool fails(const char* call) {
    const int reason = before(call);
    if (reason != 0) errno = reason;
    return reason != 0;
  }
};

/// Fails the calls named `target` (or all, where it is empty) with `code`: `times` of them after the first
/// `after`.
class FaultyOps : public WatchedOps {
 public:
  std::string target;
  int code = 0;
  int after = 0;
  int times = INT32_MAX;
  int calls = 0;            ///< all that came so far
  std::string failed = "";  ///< names of those that failed, each with a space

 protected:
  int before(const std::string& call) override {
    ++calls;
    if ((!target.empty() && target != call) || after-- > 0 || times <= 0) return 0;
    --times;
    failed += call + " ";
    return code;
  }
};
