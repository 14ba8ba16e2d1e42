// Copies of whole pictures that go on while the device computes: one is read and uploaded, another computed,
// a third downloaded and written. Each way has a stream of its own, beside the one of the kernels; an event
// holds up whoever needs what was copied. The host's side of a copy is pinned memory, from which the device
// reads by itself.
#pragma once

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/tensor.h"

namespace lux::cuda {

/// Pinned memory of the host; what is given back is kept for the next of about that size. Thread-safe.
class Staging {
 public:
  /// Throws OutOfMemory.
  explicit Staging(int64_t bytes);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;  // that there are
};
/// Gives back what is kept.
void forget_staging();

class Upload {
 public:
  /// Begins to copy elements of the host, in any thread; they may go at once. Throws OutOfMemory and Error.
  Upload(const void* elements, const Shape& shape, DType dtype);
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;
  /// The copy, for what is put on this thread's stream from now on. Once.
  Tensor arrived();

 private:
  Staging staging_;
  Tensor there_;
  Event copied_;
};

class Download {
 public:
  /// Begins to copy a tensor of the device, after what this thread's stream has by now; nobody may write into
  /// it any more. Throws OutOfMemory and Error.
  explicit Download(Tensor source);
  ~Download();
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;
  /// The elements, on the host, for as long as this lives; waits for them, in any thread. Throws Error with
  /// what went wrong on the device.
  const void* arrived() const;

 private:
  Tensor source_;
  Staging staging_;
  Event copied_;
};

}  // namespace lux::cuda
