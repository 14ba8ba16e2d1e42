#include "luxgrad/data/live_source.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/tensor/blocked_signals.h"

namespace lux {
namespace {

constexpr double kFewest = 3, kMost = 64;
constexpr double kMostBytes = 256e6;

/// Room for what arrives within the latency.
size_t room_for(const VideoFormat& format, double latency) {
  const double frames = std::ceil(latency / 1000 * format.rate.value()) + 2;
  const double fitting = kMostBytes / static_cast<double>(format.frame_bytes());
  return static_cast<size_t>(std::clamp(std::min(frames, fitting), kFewest, kMost));
}

}  // namespace

LiveSource::LiveSource(std::unique_ptr<FrameSource> source, double latency)
    : source_(std::move(source)),
      latency_(
          std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(latency))),
      ring_(room_for(source_->format(), latency)) {
  const BlockedSignals blocked;
  thread_ = std::thread([this] { read_all(); });
}

LiveSource::~LiveSource() {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
  }
  thread_.join();
}

void LiveSource::drop_first() {
  first_ = (first_ + 1) % ring_.size();
  --count_;
  ++dropped_;
}

void LiveSource::read_all() {
  VideoFrame frame;
  for (;;) {
    Result<bool> more = false;
    std::exception_ptr thrown;
    try {
      more = source_->next(frame);
    } catch (...) {  // no memory
      thrown = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    if (!more || !more.value() || abandoned_) {
      end_ = std::move(more);
      thrown_ = thrown;
      ended_ = true;
      arrived_.notify_one();
      return;
    }
    if (count_ == ring_.size()) drop_first();
    Waiting& place = ring_[(first_ + count_) % ring_.size()];
    std::swap(place.frame, frame);
    place.since = Clock::now();
    ++count_;
    arrived_.notify_one();
  }
}

Result<bool> LiveSource::next(VideoFrame& frame) {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [&] { return count_ > 0 || ended_; });
  if (count_ == 0 && thrown_ != nullptr) std::rethrow_exception(thrown_);
  if (count_ == 0) return end_ ? Result<bool>(false) : end_;
  while (count_ > 1 && Clock::now() - ring_[first_].since > latency_) drop_first();
  std::swap(frame, ring_[first_].frame);
  first_ = (first_ + 1) % ring_.size();
  --count_;
  return true;
}

int64_t LiveSource::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

}  // namespace lux
