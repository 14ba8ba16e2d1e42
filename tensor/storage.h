// Storage: the bytes behind one or more tensors, and the version counter that tells when they were written in
// place.
#pragma once

#include <cstdint>
#include <memory>

#include "luxgrad/tensor/device.h"
#include "luxgrad/tensor/memory.h"

namespace lux {

/// What was made of a storage's bytes and is kept beside them, such as weights in another order.
struct Derived {
  virtual ~Derived() = default;
};

class Storage {
 public:
  /// Uninitialised bytes. Throws OutOfMemory, and Error for a device this build cannot use.
  Storage(int64_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return block_.data; }
  int64_t bytes() const { return block_.bytes; }
  Device device() const { return device_; }

  /// Raised by every in-place writer (optimiser, loading, statistics): a backward that needs the old values
  /// throws. What was derived from them goes.
  uint64_t version() const { return version_; }
  void raise_version() {
    ++version_;
    derived_.reset();
  }
  /// What is kept of these bytes while they stay as they are (kernels/derived_weights.h), or null.
  std::unique_ptr<Derived>& derived() { return derived_; }

 private:
  std::shared_ptr<Storage> whole_;  // whose bytes these are; null: its own
  memory::Block block_;
  Device device_;
  uint64_t version_ = 0;
  std::unique_ptr<Derived> derived_;
};

}  // namespace lux
