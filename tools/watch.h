// Files that appear in a folder, as soon as whoever writes them is done.
#pragma once

#include <atomic>
#include <deque>
#include <optional>
#include <string>

namespace lux {

class FolderWatch {
 public:
  /// Throws CommandError where the folder cannot be watched.
  explicit FolderWatch(const std::string& folder);
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  /// The name of the next file that was closed after writing or moved here. Waits; nothing once `stop` is
  /// true. Names that begin with a dot are those of files at work, and left out.
  std::optional<std::string> next(const std::atomic<bool>& stop);

  /// Whether more files came at once than the system has notes for; some of them are never given.
  bool missed() const { return missed_; }

 private:
  void take_events(int milliseconds);

  int descriptor_;
  std::deque<std::string> names_;
  bool missed_ = false;
};

}  // namespace lux
