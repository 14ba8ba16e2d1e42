#include "luxgrad/tools/memory_at_work.h"

#include <algorithm>

#include "luxgrad/tensor/error.h"

namespace lux {

bool MemoryAtWork::turn_of(size_t picture) const { return passed_[picture] || next_ == picture; }

// The first of those that hold memory goes on in any case, else all might wait for each other.
bool MemoryAtWork::fits(size_t picture, int64_t bytes) const {
  int64_t others = 0;
  bool first = true;
  for (const auto& [other, held] : held_) {
    if (other != picture) others += held;
    first = first && other >= picture;
  }
  return first || others <= room_ - bytes;
}

void MemoryAtWork::pass(size_t picture) {
  passed_[picture] = true;
  while (next_ < passed_.size() && passed_[next_]) ++next_;
}

void MemoryAtWork::reserve(size_t picture, int64_t bytes) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || (turn_of(picture) && fits(picture, bytes)); });
    if (stopped_) fail("stopped");
    held_[picture] = bytes;
    pass(picture);
  }
  changed_.notify_all();
}

void MemoryAtWork::release(size_t picture, int64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    pass(picture);
    const auto held = held_.find(picture);
    if (held != held_.end()) held->second = std::min(held->second, bytes);
    if (held != held_.end() && held->second == 0) held_.erase(held);
  }
  changed_.notify_all();
}

void MemoryAtWork::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
}

}  // namespace lux
