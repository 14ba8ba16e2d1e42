// How long each operator of a network takes, and what it does in that time.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/autograd/observer.h"
#include "luxgrad/tensor/cuda.h"

namespace lux {

/// Adds up the forward runs of this thread while it lives, by operator and shapes. The time of one is the
/// time since the one before it, on a device by its own clock.
class OperatorTimes final : public Observer {
 public:
  struct Row {
    std::string name;  ///< `conv2d 3x3 [1, 900, 1200, 3] -> 32`
    int64_t calls = 0;
    double seconds = 0, flops = 0, bytes = 0;  ///< of all calls; bytes: each input and the result once
  };

  /// Of a network on `device`.
  explicit OperatorTimes(Device device = kCpu);
  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override;
  void on_backward(const char*, const Grads&) override {}
  /// Sorted by seconds, largest first.
  std::vector<Row> rows() const;

 private:
  Row& row_of(const std::string& called);

  std::vector<Row> rows_;
  bool on_device_;
  double last_;
  std::vector<cuda::Event> marks_;  // on a device: before the first operator, and behind each
  std::vector<size_t> called_;      // which row each of them belongs to
};

}  // namespace lux
