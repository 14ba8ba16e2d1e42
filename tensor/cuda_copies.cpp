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

int64_t bytes_of(const Shape& shape, DType dtype) {
  return shape.numel() * static_cast<int64_t>(size_of(dtype));
}

int64_t bytes_of(const Tensor& tensor) { return bytes_of(tensor.shape(), tensor.dtype()); }

// Begins a copy on this thread's stream. Where it cannot be awaited later, it is awaited now.
Event begin_copy(void* to, const void* from, int64_t bytes, const char* way) {
  check_call(driver().copy(to, from, static_cast<size_t>(bytes), stream()),
             cat("copying ", bytes, " bytes from ", way));
  try {
    return Event();
  } catch (const Error&) {
    driver().synchronize(stream());
    throw;
  }
}

// What fails half-way goes before `up`, so to where its memory came from.
Event begin_upload(const Staging& staging, const void* elements, const Shape& shape, DType dtype,
                   Tensor& there) {
  const int64_t bytes = bytes_of(shape, dtype);
  std::memcpy(staging.data(), elements, static_cast<size_t>(bytes));
  const OnStream up(stream(CopyStream::up));
  Tensor made = empty(shape, {dtype, kCuda});
  Event copied = begin_copy(made.raw(), staging.data(), bytes, "host to device");
  there = std::move(made);
  return copied;
}

Event begin_download(void* to, const Tensor& source) {
  const Event made;
  const OnStream down(stream(CopyStream::down));
  made.hold_up();
  return begin_copy(to, source.raw(), bytes_of(source), "device to host");
}

// Before memory is given back. What went wrong is told to who asks for the copy.
void await(const Event& copied) noexcept {
  try {
    copied.wait();
  } catch (const std::exception&) {
  }
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

Upload::Upload(const void* elements, const Shape& shape, DType dtype)
    : staging_(bytes_of(shape, dtype)), copied_(begin_upload(staging_, elements, shape, dtype, there_)) {}

// The device may still read the host's memory. What is not wanted any more goes where it came from, for the
// device's own stream may just be recording a graph.
Upload::~Upload() {
  await(copied_);
  const OnStream up(stream(CopyStream::up));
  there_ = {};
}

Tensor Upload::arrived() {
  copied_.hold_up();
  return std::move(there_);
}

Download::Download(Tensor source)
    : source_(std::move(source)),
      staging_(bytes_of(source_)),
      copied_(begin_download(staging_.data(), source_)) {}

Download::~Download() {
  await(copied_);
  const OnStream down(stream(CopyStream::down));
  source_ = {};
}

const void* Download::arrived() const {
  copied_.wait();
  return staging_.data();
}

}  // namespace lux::cuda
