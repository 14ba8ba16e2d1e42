// Frames as they happen: what comes too late to be shown is left out, so that a slow network lags by a
// bounded time instead of more and more.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "luxgrad/data/video.h"

namespace lux {

/// Reads another source in a thread of its own. A frame that has waited longer than `latency` milliseconds is
/// dropped when a newer one is there. Holds a fixed number of frames, whose memory is used again and again.
class LiveSource final : public FrameSource {
 public:
  LiveSource(std::unique_ptr<FrameSource> source, double latency);
  ~LiveSource() override;

  const VideoFormat& format() const override { return source_->format(); }
  int64_t expected_frames() const override { return source_->expected_frames(); }
  Result<bool> next(VideoFrame& frame) override;
  std::string complaint() const override { return source_->complaint(); }

  /// Frames left out so far.
  int64_t dropped() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    VideoFrame frame;
    Clock::time_point since;
  };

  void read_all();
  void drop_first();

  std::unique_ptr<FrameSource> source_;
  Clock::duration latency_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Waiting> ring_;
  size_t first_ = 0, count_ = 0;
  int64_t dropped_ = 0;
  bool ended_ = false, abandoned_ = false;
  Result<bool> end_ = false;   // what the source said last
  std::exception_ptr thrown_;  // or threw
  std::thread thread_;
};

}  // namespace lux
