#include "luxgrad/tensor/cuda_copies.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "luxgrad/tensor/cuda.h"

namespace lux::cuda {
namespace {

constexpr Device kCuda{Device::Type::cuda, 0};
constexpr size_t kMostKept = 8;  // buffers; a pinned page is one that nobody else has

struct Kept {
  std::mutex mutex;
  std::vector<std::pair<int64_t, void*>> buffers;  // bytes, memory; the one given back last is the last
};

Kept& kept() {
  static Kept* const kept = new Kept;  // never destroyed, as the device
  return *kept;
}

int64_t bytes_of(const Tensor& tensor) {
  return tensor.numel() * static_cast<int64_t>(size_of(tensor.dtype()));
}

}  // namespace

Staging::Staging(int64_t bytes) : bytes_(bytes) {
  {
    const std::lock_guard lock(kept().mutex);
    auto& buffers = kept().buffers;
    const auto fits = std::find_if(buffers.begin(), buffers.end(), [&](const auto& buffer) {
      return buffer.first >= bytes && buffer.first / 2 <= bytes;
    });
    if (fits != buffers.end()) {
      std::tie(bytes_, data_) = *fits;
      buffers.erase(fits);
      return;
    }
  }
  check_call(driver().allocate_host(&data_, static_cast<size_t>(bytes)),
             cat("taking ", bytes, " bytes of the host for a copy"));
}

Staging::~Staging() {
  const std::lock_guard lock(kept().mutex);
  auto& buffers = kept().buffers;
  try {
    buffers.emplace_back(bytes_, data_);
  } catch (const std::bad_alloc&) {
    driver().release_host(data_);
    return;
  }
  if (buffers.size() <= kMostKept) return;
  driver().release_host(buffers.front().second);
  buffers.erase(buffers.begin());
}

void forget_staging() {
  const std::lock_guard lock(kept().mutex);
  for (const auto& [bytes, data] : kept().buffers) driver().release_host(data);
  kept().buffers.clear();
}

Event::Event() { check_call(driver().make_event(&event_), "making an event"); }
Event::~Event() { driver().release_event(event_); }

void Event::record() { check_call(driver().record_event(event_, stream()), "marking a copy"); }
void Event::hold_up() const { check_call(driver().wait_on_stream(event_, stream()), "awaiting a copy"); }
void Event::wait() const { check_call(driver().wait_for_event(event_), "waiting for a copy"); }

Upload::Upload(const Tensor& source) : staging_(bytes_of(source)) {
  std::memcpy(staging_.data(), source.raw(), static_cast<size_t>(bytes_of(source)));
  const OnStream up(stream(CopyStream::up));
  there_ = empty(source.shape(), {source.dtype(), kCuda});
  copy(there_.raw(), kCuda, staging_.data(), kCpu, bytes_of(source));
  event_.record();
}

// The device may still read the host's memory. What is not wanted any more goes where it came from, for the
// device's own stream may just be recording a graph.
Upload::~Upload() {
  driver().wait_for_event(event_.event_);
  const OnStream up(stream(CopyStream::up));
  there_ = {};
}

Tensor Upload::arrived() {
  event_.hold_up();
  return std::move(there_);
}

Download::Download(Tensor source) : source_(std::move(source)), staging_(bytes_of(source_)) {
  Event made;
  made.record();
  const OnStream down(stream(CopyStream::down));
  made.hold_up();
  check_call(driver().copy(staging_.data(), source_.raw(), static_cast<size_t>(bytes_of(source_)), stream()),
             cat("copying ", bytes_of(source_), " bytes from device to host"));
  event_.record();
}

Download::~Download() {
  driver().wait_for_event(event_.event_);
  const OnStream down(stream(CopyStream::down));
  source_ = {};
}

Tensor Download::arrived() const {
  event_.wait();
  Tensor here = empty(source_.shape(), {source_.dtype(), kCpu});
  std::memcpy(here.raw(), staging_.data(), static_cast<size_t>(bytes_of(source_)));
  return here;
}

}  // namespace lux::cuda
