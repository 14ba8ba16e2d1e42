// The memory of many pictures that are read, enhanced and written at the same time.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace lux {

/// Who takes memory asks before, for the most that it will ever take, and those that are next in the list ask
/// first: so whoever was admitted can go on to its end, whatever the others wait for. For any threads.
class MemoryAtWork {
 public:
  /// For a list of `pictures`, which together take at most `room` bytes.
  MemoryAtWork(size_t pictures, int64_t room) : passed_(pictures, false), room_(room) {}

  int64_t room() const { return room_; }
  /// Waits until all before `picture` have asked or left, and then for `bytes` beside what others hold. One
  /// that nobody before it holds memory beside gets what it wants. Asked again it gives back what it had.
  /// Throws Error after `stop`.
  void reserve(size_t picture, int64_t bytes);
  /// From now on it holds no more than `bytes`; with none it has left.
  void release(size_t picture, int64_t bytes = 0);
  /// Nobody waits any more.
  void stop();

 private:
  bool turn_of(size_t picture) const;
  bool fits(size_t picture, int64_t bytes) const;
  void pass(size_t picture);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<size_t, int64_t> held_;
  std::vector<bool> passed_;  // who asked or left
  size_t next_ = 0;           // the first that did neither
  int64_t room_;
  bool stopped_ = false;
};

}  // namespace lux
