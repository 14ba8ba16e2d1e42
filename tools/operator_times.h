// How long each operator of a network takes, and what it does in that time.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/autograd/observer.h"

namespace lux {

/// Adds up the forward runs of this thread while it lives, by operator and shapes. The time of one is the
/// time since the one before it.
class OperatorTimes final : public Observer {
 public:
  struct Row {
    std::string name;  ///< `conv2d 3x3 [1, 900, 1200, 3] -> 32`
    int64_t calls = 0;
    double seconds = 0, flops = 0, bytes = 0;  ///< of all calls; bytes: each input and the result once
  };

  OperatorTimes();
  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override;
  void on_backward(const char*, const Grads&) override {}
  /// Sorted by seconds, largest first.
  std::vector<Row> rows() const;

 private:
  std::vector<Row> rows_;
  double last_;
};

}  // namespace lux
