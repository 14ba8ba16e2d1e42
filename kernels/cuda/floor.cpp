#include "luxgrad/kernels/cuda/floor.h"

#include <utility>

namespace lux::cuda {
namespace {

thread_local FloorMeter* meter = nullptr;

template <class Range>
void add_all(const char* slot, const Range& tensors) {
  if (meter == nullptr) return;
  int64_t bytes = 0;
  for (const Tensor& tensor : tensors) {
    if (tensor.defined()) bytes += tensor.numel() * static_cast<int64_t>(size_of(tensor.dtype()));
  }
  meter->add(slot, bytes);
}

}  // namespace

FloorMeter::FloorMeter() : before_(std::exchange(meter, this)) {}
FloorMeter::~FloorMeter() { meter = before_; }

void FloorMeter::add(const char* slot, int64_t bytes) {
  Moved& moved = moved_[slot];
  ++moved.calls;
  moved.bytes += bytes;
}

void must_move(const char* slot, std::initializer_list<Tensor> tensors) { add_all(slot, tensors); }
void must_move(const char* slot, const Tensors& tensors) { add_all(slot, tensors); }
void must_move(const char* slot, int64_t bytes) {
  if (meter != nullptr) meter->add(slot, bytes);
}

}  // namespace lux::cuda
