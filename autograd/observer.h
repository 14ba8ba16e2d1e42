// Observers see every operator that passes `differentiable`: the place for tracing, profiling, and finding
// the first NaN.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/autograd/node.h"

namespace lux {

/// Watches the operators of this thread while it lives. Observers nest; all of them are told,
/// the oldest first.
class Observer {
 public:
  Observer();
  virtual ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  /// `y` has just been computed by operator `name` from `inputs`.
  virtual void on_forward(const char* name, const Tensor& y, const Tensors& inputs) = 0;
  /// `grads` have just been computed by the backward of operator `name`.
  virtual void on_backward(const char* name, const Grads& grads) = 0;

  /// Which this thread had before; null where there was none.
  Observer* older() const { return older_; }

 private:
  Observer* older_;
};

/// Whether this thread has one.
bool observed();

namespace detail {
void announce_backward(const char* name, const Grads& grads);
}

/// Lists the operators as they run: `conv2d [1, 8, 8, 3] -> [1, 8, 8, 32]`, gradients with a leading `grad `.
class Trace final : public Observer {
 public:
  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override;
  void on_backward(const char* name, const Grads& grads) override;
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

/// Seconds and calls per operator, forward and backward apart. The time of an operator is the time since the
/// one before it.
class Profile final : public Observer {
 public:
  struct Row {
    std::string name;
    int64_t calls = 0;
    double seconds = 0;
  };

  Profile();
  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override;
  void on_backward(const char* name, const Grads& grads) override;
  /// Sorted by seconds, largest first.
  std::vector<Row> rows() const;

 private:
  void add(std::string name);

  std::vector<Row> rows_;
  double last_;
};

/// Remembers the first operator whose result or gradient holds a NaN or an infinity.
class FirstNonFinite final : public Observer {
 public:
  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override;
  void on_backward(const char* name, const Grads& grads) override;
  /// `tanh: element 17 of the result, shape […]`, or empty while all was finite.
  const std::string& found() const { return found_; }
  /// The result or gradient that it was found in, and where.
  const Tensor& tensor() const { return tensor_; }
  int64_t element() const { return element_; }
  /// What the operator had read, where it was found in a result.
  const Tensors& inputs() const { return inputs_; }

 private:
  std::string found_;
  Tensor tensor_;
  Tensors inputs_;
  int64_t element_ = -1;
};

}  // namespace lux
