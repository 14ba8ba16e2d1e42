#include "luxgrad/tensor/cuda_recording.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "luxgrad/tensor/cuda.h"

namespace lux::cuda {
namespace {

constexpr int64_t kAlignment = 256;  // that of cudaMallocAsync

thread_local Recording* recording = nullptr;

}  // namespace

int64_t Layout::take(int64_t bytes) {
  const int64_t size = (std::max<int64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  int64_t at = 0;
  for (const auto& [offset, used] : used_) {
    if (offset - at >= size) break;
    at = offset + used;
  }
  used_.emplace(at, size);
  most_ = std::max(most_, at + size);
  return at;
}

void Layout::give(int64_t offset) { used_.erase(offset); }

HostBytes::HostBytes(const void* source, int64_t bytes) {
  check_call(driver().allocate_host(&data_, static_cast<size_t>(bytes)),
             cat("keeping ", bytes, " bytes of the host for a graph"));
  std::memcpy(data_, source, static_cast<size_t>(bytes));
}
HostBytes::~HostBytes() { driver().release_host(data_); }

Recording::Recording() { recording = this; }
Recording::Recording(std::shared_ptr<Storage> memory) : memory_(std::move(memory)) { recording = this; }
Recording::~Recording() {
  recording = nullptr;
  for (const memory::Block& block : let_go_) deallocate(block, false);
}

Recording* Recording::current() { return recording; }

void Recording::refuse(const std::string& what) {
  if (refusal_.empty()) refusal_ = what;
  throw NotRecordable(cat("cuda graph: the work ", what));
}

memory::Block Recording::place(int64_t bytes) {
  const int64_t offset = layout_.take(bytes);
  outgrown_ = layout_.most() > memory_->bytes();
  if (outgrown_) refuse("needs more memory than before");
  void* const data = static_cast<char*>(memory_->data()) + offset;
  return {data, data, bytes, 0};
}

// Where there is no memory for notes the graph's own will not suffice, and is measured again.
void Recording::measure(const memory::Block& block) noexcept {
  try {
    places_[block.data] = layout_.take(block.bytes);
  } catch (const std::bad_alloc&) {
  }
}

bool Recording::give(const memory::Block& block, bool part) noexcept {
  if (part) {
    const auto* const data = static_cast<const char*>(block.data);
    const auto* const begin = memory_ == nullptr ? nullptr : static_cast<const char*>(memory_->data());
    if (begin != nullptr && data >= begin && data < begin + memory_->bytes()) layout_.give(data - begin);
    return true;
  }
  if (const auto place = places_.find(block.data); place != places_.end()) {
    layout_.give(place->second);
    places_.erase(place);
  }
  if (!records()) return false;
  try {  // else every run of the graph would give it back
    let_go_.push_back(block);
    return true;
  } catch (const std::bad_alloc&) {
    refusal_ = "lets go of memory that is not its own";
    return false;
  }
}

void Recording::refuse_waiting(const char* what) {
  if (records()) refuse(what);
}

const void* Recording::kept(const void* bytes, int64_t size) {
  if (!records()) return bytes;
  graph_.constants.push_back(std::make_unique<HostBytes>(bytes, size));
  return graph_.constants.back()->data();
}

}  // namespace lux::cuda
