#include "luxgrad/kernels/cuda/floor.h"

#include <utility>

#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/cuda_graph.h"

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

FloorMeter::FloorMeter(Times times)
    : times_(times), before_(std::exchange(meter, this)), graphs_before_(set_graphs_wanted(false)) {}
FloorMeter::~FloorMeter() {
  set_graphs_wanted(graphs_before_);
  meter = before_;
}

std::map<std::string, Moved> FloorMeter::moved() const {
  std::map<std::string, Moved> moved = moved_;
  for (const Run& run : runs_)
    moved[run.begun.slot].milliseconds += run.end.milliseconds_since(run.begun.mark);
  return moved;
}

void FloorMeter::add(const char* slot, int64_t bytes) {
  Moved& moved = moved_[slot];
  ++moved.calls;
  moved.bytes += bytes;
  // A slot that works on many tensors says so for each of them, before its first kernel.
  if (times_ == taken && (!begun_ || begun_->slot != slot)) begun_.emplace(Begun{slot});
}

void FloorMeter::end() {
  if (!begun_) return;
  runs_.push_back({std::move(*begun_)});
  begun_.reset();
}

void must_move(const char* slot, std::initializer_list<Tensor> tensors) { add_all(slot, tensors); }
void must_move(const char* slot, const Tensors& tensors) { add_all(slot, tensors); }
void must_move(const char* slot, int64_t bytes) {
  if (meter != nullptr) meter->add(slot, bytes);
}
void end_of_slot() {
  if (meter != nullptr) meter->end();
}

}  // namespace lux::cuda
