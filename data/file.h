// Whole files in and out: read with a limit, written so that a reader sees the old bytes or the new ones,
// never a part.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "luxgrad/data/result.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux {

inline constexpr int64_t kMaxFileBytes = int64_t{4} << 30;

/// The bytes of a text.
inline std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// A descriptor of a regular file, to be closed by the caller. Refuses directories, pipes and devices, and
/// never blocks on a pipe.
Result<int> open_for_reading(const std::string& path);

/// All bytes of a regular file, or of standard input for "-". Refuses directories, pipes, devices, and more
/// than `max_bytes`; never blocks on a pipe.
Result<std::vector<uint8_t>> read_file(const std::string& path, int64_t max_bytes = kMaxFileBytes);

/// Refuses a path where something stands that is no regular file.
Result<bool> replaceable(const std::string& path);

/// A file that is written piece by piece under another name beside its own, which it gets when it is whole.
/// Unless it was kept, it is removed.
class NewFile {
 public:
  /// Refuses a `path` that is a directory, pipe or device.
  static Result<NewFile> create(const std::string& path);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  int descriptor() const { return descriptor_; }
  /// Its name for now.
  const std::string& temporary() const { return temporary_; }
  /// More bytes at its end, or in place of some of its own. Throw FileException, and the file is gone.
  void append(std::span<const uint8_t> bytes);
  void overwrite(int64_t at, std::span<const uint8_t> bytes);
  /// Flushes the file to the disk, renames it onto `path`, where a symbolic link is replaced and not
  /// followed, and flushes the folder. On failure `path` is what it was, and the file is gone.
  Result<bool> keep();
  /// Removes the file; the error of errno after what could not be done.
  FileError give_up(const char* action);

 private:
  NewFile() = default;
  bool open_temporary(const std::string& target);
  int descriptor_ = -1;
  std::string path_, folder_, temporary_;
  int slot_ = -1;  // where `remove_unfinished_files` finds it
};

/// For a process that ends, as the next one: from now on whoever creates a `NewFile` waits for that end.
/// Returns when no other thread is creating one.
void refuse_new_files();

/// Removes every `NewFile` that is neither kept nor given up. It takes no lock and no memory, so that a
/// signal handler may call it.
void remove_unfinished_files();

/// Writes a temporary file beside `path`, flushes it to the disk, renames it onto `path`, and flushes the
/// folder. On failure `path` is what it was, and the temporary file is gone. Refuses what the disk has no
/// room for before it writes, and a `path` that is a directory, pipe or device; a symbolic link is replaced,
/// not followed. Returns the number of bytes.
Result<int64_t> write_file_atomically(const std::string& path, std::span<const uint8_t> bytes);

/// The same for so many bytes that come in pieces, none of which is kept.
using ByteSink = FunctionRef<void(std::span<const uint8_t>)>;
Result<int64_t> write_file_atomically(const std::string& path, int64_t bytes,
                                      FunctionRef<void(ByteSink)> source);

/// Removes the temporary files that killed processes left in a folder. Only for folders whose lock is held:
/// elsewhere they may belong to a process at work. Returns how many there were.
Result<int64_t> remove_temporary_files(const std::string& folder);

/// Appends to a file, all or nothing: what was written of a failed piece is cut off again. Makes the file
/// where it is missing. Follows no symbolic link, refuses directories, pipes and devices, and never blocks
/// on a pipe. Returns the number of bytes.
Result<int64_t> append_to_file(const std::string& path, std::string_view text);

/// Hands over the bytes of a regular file from `begin` to `end`, or as far as it goes, in pieces of at most
/// 64 KiB. Returns how many there were.
Result<int64_t> read_pieces(const std::string& path, int64_t begin, int64_t end, ByteSink sink);

/// Keeps the whole lines among the first `bytes` of a file, in a new one: what else bears the old one's name,
/// by a hard link, stays. A symbolic link is removed, not followed; it counts as an empty file, as a missing
/// one does, and no file is left where nothing is kept. Refuses directories, pipes and devices. Returns the
/// new length.
Result<int64_t> keep_lines(const std::string& path, int64_t bytes);

/// Waits until the file's bytes are on the disk. Refuses what append_to_file refuses. Returns its length.
Result<int64_t> flush_file(const std::string& path);

}  // namespace lux
