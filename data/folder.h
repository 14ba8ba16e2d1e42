// Folders: made so that they outlast a loss of power, listed, and locked for one process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

/// The text of errno after what could not be done: `cannot be opened: No such file or directory`.
FileError system_error(FileErrorCode code, const std::string& path, const std::string& action);

/// Makes a folder and those above it that are missing, each flushed into the one that holds it. Returns how
/// many were made.
Result<int64_t> make_folders(const std::string& path);

/// Names of what is in a folder, sorted.
Result<std::vector<std::string>> list_folder(const std::string& path);

/// Makes new and renamed entries of a folder outlast a loss of power. False, with errno, where the disk
/// failed; file systems that know no such thing, and folders that may be written but not read, give true.
bool flush_folder(const std::string& path);

/// Bytes that may still be written where the folder lies; -1 where that is not known.
int64_t free_bytes(const std::string& folder);

/// A folder that belongs to this process for as long as the object lives. The system gives it back when the
/// process ends, however it ends. Copies nothing, moves freely.
class FolderLock {
 public:
  /// Locks by a file named `lock` in the folder. FileErrorCode::busy when another process has it.
  static Result<FolderLock> take(const std::string& folder);

  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace lux
