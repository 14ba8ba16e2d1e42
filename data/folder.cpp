#include "luxgrad/data/folder.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "luxgrad/data/file_ops.h"

namespace lux {
namespace {

bool is_folder(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// The folder that holds `path`, which does not end in a slash.
std::string holder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return path.substr(0, std::max<size_t>(1, slash));
}

}  // namespace

FileError system_error(FileErrorCode code, const std::string& path, const std::string& action) {
  return {code, path, -1, cat(action, ": ", std::strerror(errno))};
}

Result<int64_t> make_folders(const std::string& path) {
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  if (is_folder(name)) return int64_t{0};
  const std::string holder = holder_of(name);
  const Result<int64_t> above = holder == name ? Result<int64_t>(0) : make_folders(holder);
  if (!above) return FileError{above.error().code, path, -1, above.error().reason};
  const bool made = repeated([&] { return file_ops().mkdir(name.c_str(), 0777); }) == 0;
  if (!made && errno == EEXIST) errno = is_folder(name) ? 0 : ENOTDIR;
  if (!made && errno != 0) return system_error(FileErrorCode::unwritable, path, "cannot be made");
  if (!flush_folder(holder)) {
    return system_error(FileErrorCode::unwritable, path, "was made, but its folder cannot be flushed");
  }
  return above.value() + (made ? 1 : 0);
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  auto names = file_ops().list(path.c_str());
  if (!names) return system_error(FileErrorCode::unreadable, path, "cannot be listed");
  std::sort(names->begin(), names->end());
  return *std::move(names);
}

bool flush_folder(const std::string& path) {
  FileOps& ops = file_ops();
  const int descriptor =
      repeated([&] { return ops.open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (descriptor < 0) return errno == EACCES;
  const int result = repeated([&] { return ops.fsync(descriptor); });
  const int reason = errno;
  ops.close(descriptor);
  errno = reason;
  return result == 0 || reason == EINVAL;
}

int64_t free_bytes(const std::string& folder) { return file_ops().free_bytes(folder.c_str()); }

Result<FolderLock> FolderLock::take(const std::string& folder) {
  const std::string path = folder + "/lock";
  constexpr int kFlags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
  const int descriptor = repeated([&] { return file_ops().open(path.c_str(), kFlags, 0666); });
  if (descriptor < 0) return system_error(FileErrorCode::unwritable, path, "cannot be opened");
  FolderLock lock(descriptor);
  if (file_ops().lock(descriptor) == 0) return Result<FolderLock>(std::move(lock));
  if (errno == EWOULDBLOCK) return FileError{FileErrorCode::busy, folder, -1, "another process works in it"};
  return system_error(FileErrorCode::unwritable, path, "cannot be locked");
}

FolderLock::FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) file_ops().close(descriptor_);
}

}  // namespace lux
