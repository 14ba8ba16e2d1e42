// A folder of its own for one test, removed with everything in it at the end.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "luxgrad/tensor/error.h"

class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::filesystem::path& where = std::filesystem::temp_directory_path()) {
    std::string pattern = where / "luxgrad_test_XXXXXX";
    lux::check(mkdtemp(pattern.data()) != nullptr, "temporary folder: cannot be created as ", pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Where folders live in memory, for tests that write thousands of files and need no disk; else where all
/// live.
inline std::filesystem::path in_memory() {
  const char* const shared = "/dev/shm";
  return access(shared, W_OK) == 0 ? std::filesystem::path(shared) : std::filesystem::temp_directory_path();
}
