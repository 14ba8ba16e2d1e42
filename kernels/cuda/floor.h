// What a kernel cannot avoid: to read its operands and to write its results once. Every slot says how many
// bytes that is, and benchmarks print its time as a share of the time that the memory needs for them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>

#include "luxgrad/tensor/tensor.h"

namespace lux::cuda {

struct Moved {
  int64_t calls = 0, bytes = 0;
};

/// Adds up, while it lives, what the slots of this thread must move.
class FloorMeter {
 public:
  FloorMeter();
  ~FloorMeter();
  FloorMeter(const FloorMeter&) = delete;
  FloorMeter& operator=(const FloorMeter&) = delete;
  /// By the name of the slot.
  const std::map<std::string, Moved>& moved() const { return moved_; }
  void add(const char* slot, int64_t bytes);

 private:
  std::map<std::string, Moved> moved_;
  FloorMeter* before_;
};

/// Tells the meter, if there is one, that a slot runs which reads or writes these tensors; undefined ones
/// count nothing.
void must_move(const char* slot, std::initializer_list<Tensor> tensors);
void must_move(const char* slot, const Tensors& tensors);
void must_move(const char* slot, int64_t bytes);

/// The elements, or null for an undefined tensor.
template <class T>
T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

}  // namespace lux::cuda
