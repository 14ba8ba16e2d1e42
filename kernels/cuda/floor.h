// What a kernel cannot avoid: to read its operands and to write its results once. Every slot says how many
// bytes that is, and benchmarks print its time as a share of the time that the memory needs for them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/tensor.h"

namespace lux::cuda {

struct Moved {
  int64_t calls = 0, bytes = 0;
  double milliseconds = 0;  ///< of the device, where the meter times it
};

/// Adds up, while it lives, what the slots of this thread must move, and on request how long the device took.
/// Nothing runs as a graph meanwhile, for that calls no slot.
class FloorMeter {
 public:
  enum Times { not_taken, taken };
  explicit FloorMeter(Times times = not_taken);
  ~FloorMeter();
  FloorMeter(const FloorMeter&) = delete;
  FloorMeter& operator=(const FloorMeter&) = delete;
  /// By the name of the slot. Waits for the device where times are taken.
  std::map<std::string, Moved> moved() const;
  void add(const char* slot, int64_t bytes);
  /// The kernels of the slot that was added last are called.
  void end();

 private:
  struct Begun {
    std::string slot;
    cuda::Event mark{};
  };
  struct Run {
    Begun begun;
    cuda::Event end{};
  };

  std::map<std::string, Moved> moved_;
  Times times_;
  std::optional<Begun> begun_;
  std::vector<Run> runs_;
  FloorMeter* before_;
  bool graphs_before_;
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
