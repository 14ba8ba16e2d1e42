#include "luxgrad/data/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <optional>
#include <utility>

#include "luxgrad/data/file_ops.h"
#include "luxgrad/data/folder.h"

namespace lux {
namespace {

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

/// Closes a file that is only read, also when an exception passes.
class Reading {
 public:
  explicit Reading(int descriptor) : descriptor_(descriptor) {}
  ~Reading() { file_ops().close(descriptor_); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  int descriptor_;
};

/// Reads to the end, starting with room for `expected` bytes.
Result<std::vector<uint8_t>> read_to_end(int descriptor, const std::string& path, int64_t expected,
                                         int64_t max_bytes) {
  std::vector<uint8_t> bytes;
  size_t filled = 0;
  for (;;) {
    // One byte of room beyond the expected end lets the last read see the end of the file.
    if (filled == bytes.size()) bytes.resize(filled == 0 ? static_cast<size_t>(expected) + 1 : 2 * filled);
    const ssize_t got =
        repeated([&] { return file_ops().read(descriptor, bytes.data() + filled, bytes.size() - filled); });
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
    const ssize_t written =
        repeated([&] { return file_ops().write(descriptor, bytes.data(), bytes.size()); });
    if (written == 0) errno = ENOSPC;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

/// Small pieces wait for each other, so that the system is not asked for every one of them.
bool write_pieces(int descriptor, FunctionRef<void(ByteSink)> source) {
  constexpr size_t kTogether = size_t{64} << 10;
  std::vector<uint8_t> waiting;
  bool sound = true;
  const auto flush_waiting = [&] {
    sound = sound && write_fully(descriptor, waiting);
    waiting.clear();
  };
  source([&](std::span<const uint8_t> piece) {
    if (!sound) return;
    if (waiting.size() + piece.size() > kTogether) flush_waiting();
    if (piece.size() > kTogether) {
      sound = sound && write_fully(descriptor, piece);
    } else {
      waiting.insert(waiting.end(), piece.begin(), piece.end());
    }
  });
  flush_waiting();
  return sound;
}

/// A flush that fails is final: the kernel may have dropped the bytes, and a second try would report success.
bool flush(int descriptor) {
  return repeated([&] { return file_ops().fsync(descriptor); }) == 0;
}

/// What stands behind a descriptor; nothing, and errno, where the system does not say.
std::optional<struct stat> status_of(int descriptor) {
  struct stat status {};
  if (repeated([&] { return file_ops().fstat(descriptor, &status); }) != 0) return std::nullopt;
  return status;
}

int open_file(const std::string& path, int flags) {
  return repeated([&] { return file_ops().open(path.c_str(), flags | O_CLOEXEC, 0666); });
}

/// An interrupted close has closed, and everything of value was flushed before.
bool close_checked(int descriptor) { return file_ops().close(descriptor) == 0 || errno == EINTR; }

/// A file that is written where it stands: no link is followed, and no pipe's other end waited for.
Result<int> open_in_place(const std::string& path, int flags) {
  const int descriptor = open_file(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags);
  if (descriptor < 0) return system_error(FileErrorCode::unwritable, path, "cannot be opened");
  const auto status = status_of(descriptor);
  if (status && S_ISREG(status->st_mode)) return descriptor;
  const FileError error = status ? not_regular(FileErrorCode::unwritable, path, status->st_mode)
                                 : system_error(FileErrorCode::unwritable, path, "cannot be looked at");
  (void)close_checked(descriptor);
  return error;
}

constexpr std::string_view kTemporary = ".tmp.";

/// Names of files that are being written, where a signal handler finds them. Longer names than the system
/// takes are no names, and more files at a time than slots stay unknown.
struct Unfinished {
  std::atomic<bool> taken{false}, readable{false};
  std::array<char, PATH_MAX> path{};
};
std::array<Unfinished, 32> unfinished;

/// The slot that remembers the file, or -1.
int remember(const std::string& path) {
  if (path.size() >= PATH_MAX) return -1;
  for (size_t i = 0; i < unfinished.size(); ++i) {
    Unfinished& slot = unfinished[i];
    if (slot.taken.exchange(true)) continue;
    std::memcpy(slot.path.data(), path.c_str(), path.size() + 1);
    slot.readable = true;
    return static_cast<int>(i);
  }
  return -1;
}

void forget(int slot) {
  if (slot < 0) return;
  unfinished[static_cast<size_t>(slot)].readable = false;
  unfinished[static_cast<size_t>(slot)].taken = false;
}

std::atomic<bool> ending{false};
std::atomic<int> creating{0};
thread_local bool creating_here = false;

/// While a name is remembered and its file created. Threads that come too late wait for the process's end.
struct Creating {
  Creating() {
    creating_here = true;
    ++creating;
    if (!ending) return;
    --creating;
    for (;;) pause();
  }
  ~Creating() {
    --creating;
    creating_here = false;
  }
  Creating(const Creating&) = delete;
  Creating& operator=(const Creating&) = delete;
};

/// `NewFile`'s names: `.file.tmp.123.0`
bool is_temporary(std::string_view name) {
  const size_t at = name.rfind(kTemporary);
  return name.starts_with('.') && at != std::string_view::npos && at > 0 &&
         name.find_first_not_of("0123456789.", at + kTemporary.size()) == std::string_view::npos;
}

}  // namespace

Result<int> open_for_reading(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return FileError{FileErrorCode::missing, path, -1, "the name of the file is empty or has a zero byte"};
  }
  // O_NONBLOCK: opening a pipe without a writer must not hang; regular files ignore it.
  const int descriptor = open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    return system_error(missing ? FileErrorCode::missing : FileErrorCode::unreadable, path,
                        "cannot be opened");
  }
  const auto status = status_of(descriptor);
  if (status && S_ISREG(status->st_mode)) return descriptor;
  const FileError error = status ? not_regular(FileErrorCode::unreadable, path, status->st_mode)
                                 : system_error(FileErrorCode::unreadable, path, "cannot be read");
  file_ops().close(descriptor);
  return error;
}

Result<std::vector<uint8_t>> read_file(const std::string& path, int64_t max_bytes) {
  if (path == "-") return read_to_end(STDIN_FILENO, "standard input", 65536, max_bytes);
  const Result<int> opened = open_for_reading(path);
  if (!opened) return opened.error();
  const int descriptor = opened.value();
  const Reading closed_at_the_end(descriptor);
  const auto status = status_of(descriptor);
  if (!status) return system_error(FileErrorCode::unreadable, path, "cannot be read");
  if (status->st_size > max_bytes) return over_limit(path, max_bytes);
  return read_to_end(descriptor, path, status->st_size, max_bytes);
}

Result<bool> replaceable(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    return not_regular(FileErrorCode::unwritable, path, status.st_mode);
  return true;
}

NewFile::NewFile(NewFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)),
      folder_(std::move(other.folder_)),
      temporary_(std::exchange(other.temporary_, {})),
      slot_(std::exchange(other.slot_, -1)) {}

NewFile::~NewFile() {
  if (descriptor_ >= 0) file_ops().close(descriptor_);
  if (!temporary_.empty()) file_ops().unlink(temporary_.c_str());
  forget(slot_);
}

Result<NewFile> NewFile::create(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string target = slash == std::string::npos ? path : path.substr(slash + 1);
  if (target.empty() || target == "." || target == ".." || path.find('\0') != std::string::npos) {
    return FileError{FileErrorCode::unwritable, path, -1, "is not the name of a file"};
  }
  if (const Result<bool> free = replaceable(path); !free) return free.error();
  NewFile file;
  file.path_ = path;
  file.folder_ = slash == std::string::npos ? "./" : path.substr(0, slash + 1);
  if (file.open_temporary(target)) return file;
  return system_error(FileErrorCode::unwritable, path, "cannot be created");
}

// The name is remembered first: a signal may come when the file is there, and nothing has returned.
bool NewFile::open_temporary(const std::string& target) {
  static std::atomic<unsigned> serial{0};
  for (int attempts = 0; attempts < 1000; ++attempts) {
    std::string name = cat(folder_, ".", target.substr(0, 200), kTemporary, getpid(), ".", serial++);
    const Creating now;
    slot_ = remember(name);
    descriptor_ = open_file(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    if (descriptor_ >= 0) {
      temporary_ = std::move(name);
      return true;
    }
    forget(std::exchange(slot_, -1));
    if (errno != EEXIST) break;
  }
  return false;
}

FileError NewFile::give_up(const char* action) {
  const int reason = errno;
  if (const int descriptor = std::exchange(descriptor_, -1); descriptor >= 0) file_ops().close(descriptor);
  file_ops().unlink(temporary_.c_str());  // first, for the error itself needs memory
  temporary_.clear();
  errno = reason;
  return system_error(FileErrorCode::unwritable, path_, action);
}

void NewFile::append(std::span<const uint8_t> bytes) {
  if (!write_fully(descriptor_, bytes)) throw FileException(give_up("cannot be written"));
}

void NewFile::overwrite(int64_t at, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        repeated([&] { return file_ops().write_at(descriptor_, bytes.data(), bytes.size(), at); });
    if (written < 0) throw FileException(give_up("cannot be written"));
    at += written;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

Result<bool> NewFile::keep() {
  if (!flush(descriptor_)) return give_up("cannot be written");
  if (!close_checked(std::exchange(descriptor_, -1))) return give_up("cannot be written");
  if (file_ops().rename(temporary_.c_str(), path_.c_str()) != 0) return give_up("cannot be replaced");
  temporary_.clear();
  if (flush_folder(folder_)) return true;
  return system_error(FileErrorCode::unwritable, path_, "was written, but its folder cannot be flushed");
}

Result<int64_t> write_file_atomically(const std::string& path, std::span<const uint8_t> bytes) {
  return write_file_atomically(path, static_cast<int64_t>(bytes.size()), [&](ByteSink sink) { sink(bytes); });
}

Result<int64_t> write_file_atomically(const std::string& path, int64_t size,
                                      FunctionRef<void(ByteSink)> source) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const int64_t room = file_ops().free_bytes(folder.empty() ? "./" : folder.c_str());
  if (room >= 0 && room < size) {
    return FileError{FileErrorCode::unwritable, path, -1,
                     cat("cannot be written: it needs ", size, " bytes, its disk has ", room, " left")};
  }
  Result<NewFile> file = NewFile::create(path);
  if (!file) return file.error();
  if (!write_pieces(file->descriptor(), source)) return file->give_up("cannot be written");
  const Result<bool> kept = file->keep();
  if (!kept) return kept.error();
  return size;
}

Result<int64_t> remove_temporary_files(const std::string& folder) {
  return attempt([&] {
    int64_t removed = 0;
    for (const std::string& name : list_folder(folder).value()) {
      if (!is_temporary(name)) continue;
      const std::string path = cat(folder, "/", name);
      if (file_ops().unlink(path.c_str()) != 0) {
        throw FileException(system_error(FileErrorCode::unwritable, path, "cannot be removed"));
      }
      ++removed;
    }
    return removed;
  });
}

void refuse_new_files() {
  constexpr int kPatience = 2000;  // milliseconds; a file system may not answer
  ending = true;
  for (int waited = 0; creating > (creating_here ? 1 : 0) && waited < kPatience; ++waited)
    (void)poll(nullptr, 0, 1);
}

void remove_unfinished_files() {
  for (const Unfinished& slot : unfinished) {
    if (slot.readable) (void)::unlink(slot.path.data());
  }
}

Result<int64_t> append_to_file(const std::string& path, std::string_view text) {
  const Result<int> opened = open_in_place(path, O_CREAT | O_APPEND);
  if (!opened) return opened.error();
  const int descriptor = opened.value();
  const auto before = status_of(descriptor);
  const bool written = before && write_fully(descriptor, bytes_of(text));
  const int reason = errno;
  if (before && !written) (void)file_ops().truncate(descriptor, before->st_size);
  const bool closed = close_checked(descriptor);
  if (written && closed) return static_cast<int64_t>(text.size());
  errno = written ? errno : reason;
  return system_error(FileErrorCode::unwritable, path, "cannot be written");
}

Result<int64_t> read_pieces(const std::string& path, int64_t begin, int64_t end, ByteSink sink) {
  const Result<int> opened = open_for_reading(path);
  if (!opened) return opened.error();
  const int descriptor = opened.value();
  const Reading closed_at_the_end(descriptor);
  if (lseek(descriptor, begin, SEEK_SET) < 0)
    return system_error(FileErrorCode::unreadable, path, "cannot be read");
  std::vector<uint8_t> piece(size_t{64} << 10);
  int64_t at = begin;
  while (at < end) {
    const size_t most = std::min(piece.size(), static_cast<size_t>(end - at));
    const ssize_t got = repeated([&] { return file_ops().read(descriptor, piece.data(), most); });
    if (got < 0) return system_error(FileErrorCode::unreadable, path, "cannot be read");
    if (got == 0) break;
    sink({piece.data(), static_cast<size_t>(got)});
    at += got;
  }
  return at - begin;
}

Result<int64_t> keep_lines(const std::string& path, int64_t bytes) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return int64_t{0};
    return system_error(FileErrorCode::unwritable, path, "cannot be looked at");
  }
  const bool regular = S_ISREG(status.st_mode);
  if (!regular && !S_ISLNK(status.st_mode))
    return not_regular(FileErrorCode::unwritable, path, status.st_mode);
  int64_t kept = 0;
  if (regular && bytes > 0) {
    int64_t at = 0;
    const Result<int64_t> looked = read_pieces(path, 0, bytes, [&](std::span<const uint8_t> piece) {
      for (const uint8_t byte : piece) {
        ++at;
        if (byte == '\n') kept = at;
      }
    });
    if (!looked) return looked.error();
  }
  if (kept > 0) {
    return attempt(
        [&] {  // what cannot be read again leaves the new file unfinished, and the old one as it is
          const auto copy = [&](ByteSink sink) { (void)read_pieces(path, 0, kept, sink).value(); };
          return write_file_atomically(path, kept, copy).value();
        });
  }
  if (file_ops().unlink(path.c_str()) == 0) return int64_t{0};
  return system_error(FileErrorCode::unwritable, path, "cannot be removed");
}

Result<int64_t> flush_file(const std::string& path) {
  const Result<int> opened = open_in_place(path, 0);
  if (!opened) return opened.error();
  const int descriptor = opened.value();
  const auto status = status_of(descriptor);
  const bool flushed = status && flush(descriptor);
  const int reason = errno;
  (void)close_checked(descriptor);
  errno = reason;
  if (!flushed) return system_error(FileErrorCode::unwritable, path, "cannot be flushed");
  return int64_t{status->st_size};
}

}  // namespace lux
