// A disk that loses its power: every state that it may be found in, from a record of what was asked of it.
//
// The strict reading of POSIX: bytes are safe once their file was flushed, names once their folder was. Until
// then any part may be on the disk or not, in any order: a file may have its new length and zeros in it, a
// new name may stand before the bytes it names.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "luxgrad/data/file_ops.h"

/// What was asked of the disk, in order.
struct DiskEvent {
  enum Kind { link, rename, unlink, make_folder, write, truncate, flush_file, flush_folder, mark };
  Kind kind;
  std::string path = "", to = "";  ///< below the root
  int file = -1;                   ///< number of the file, whatever its name is
  int64_t offset = 0;              ///< of `write`; the length for `truncate`, the value for `mark`
  std::vector<uint8_t> bytes = {};
};

/// Passes everything below `root` on to the system and keeps a record of it.
class RecordingOps : public lux::FileOps {
 public:
  explicit RecordingOps(std::string root) : root_(std::move(root) + "/") {}

  std::vector<DiskEvent> events;
  size_t chunk = SIZE_MAX;           ///< `write` takes at most so many bytes
  bool forget_file_flushes = false;  ///< as if the program had none
  bool forget_folder_flushes = false;

  /// Notes in the record that `value` has been promised.
  void mark(int64_t value) { events.push_back({.kind = DiskEvent::mark, .offset = value}); }

  int open(const char* path, int flags, mode_t mode) override;
  ssize_t write(int descriptor, const void* data, size_t bytes) override;
  ssize_t write_at(int descriptor, const void* data, size_t bytes, off_t offset) override;
  int truncate(int descriptor, off_t length) override;
  int fsync(int descriptor) override;
  int close(int descriptor) override;
  int rename(const char* from, const char* to) override;
  int unlink(const char* path) override;
  int mkdir(const char* path, mode_t mode) override;

 private:
  struct Open {
    std::string folder = "";  // of a folder that is open
    int file = -1;            // of a file that is open
    int64_t offset = 0;
    bool append = false;
  };
  void record_write(const Open& open, const void* data, ssize_t written);
  bool below_root(const std::string& path) const { return path.starts_with(root_); }
  std::string inner(const std::string& path) const;

  std::string root_;
  std::map<std::string, int> names_;
  std::vector<int64_t> lengths_;  // by file
  std::map<int, Open> open_;
};

/// A state of the disk: contents by path; folders end in a slash.
using DiskState = std::map<std::string, std::vector<uint8_t>>;

/// Calls `visit` with every state in which the disk may be found after a loss of power at any moment of the
/// record, each once, and with the last mark before that moment.
void each_state_after_power_loss(const std::vector<DiskEvent>& events,
                                 const std::function<void(const DiskState&, int64_t mark)>& visit);
