#include "luxgrad/autograd/recompute.h"

#include <algorithm>

#include "luxgrad/autograd/observer.h"

namespace lux {
namespace {

thread_local bool second_time = false;

class SecondTime {
 public:
  SecondTime() : before_(std::exchange(second_time, true)) {}
  ~SecondTime() { second_time = before_; }
  SecondTime(const SecondTime&) = delete;
  SecondTime& operator=(const SecondTime&) = delete;

 private:
  bool before_;
};

bool is_leaf(const Tensor& tensor) {
  return tensor.requires_grad() && dynamic_cast<const Node*>(tensor.grad_slot().get()) == nullptr;
}

// The parameters that operators read, each once.
class ParametersRead final : public Observer {
 public:
  void on_forward(const char*, const Tensor&, const Tensors& inputs) override {
    for (const Tensor& input : inputs) {
      if (!input.defined() || !is_leaf(input)) continue;
      const bool known = std::any_of(found.begin(), found.end(), [&](const Tensor& parameter) {
        return parameter.storage() == input.storage();
      });
      if (!known) found.push_back(input);
    }
  }
  void on_backward(const char*, const Grads&) override {}

  Tensors found;
};

class Again final : public Closure {
 public:
  Again(std::unique_ptr<detail::Part> part, const Tensors& inputs, const Tensors& parameters)
      : part_(std::move(part)),
        inputs_(inputs.begin(), inputs.end()),
        parameters_(parameters.begin(), parameters.end()) {}

  Grads run(const Tensor&, const Need&) override {
    fail("recompute: expected a second run instead of gradients");
  }

  Tensor rerun(const std::vector<std::shared_ptr<GradSlot>>& slots) override {
    for (const Saved& parameter : parameters_) (void)parameter.get();
    Tensors inputs;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      inputs.push_back(inputs_[i].get());
      inputs.back().set_grad_slot(slots[i]);
    }
    const SecondTime second;
    const WithGrad with_grad;
    return (*part_)(std::move(inputs));
  }

 private:
  std::unique_ptr<detail::Part> part_;
  std::vector<Saved> inputs_, parameters_;
};

}  // namespace

bool recomputing() { return second_time; }

// The first run makes a graph too, which dies here: it tells whether anything in it wants a gradient.
Tensor detail::recompute(std::unique_ptr<Part> part, const Tensors& inputs) {
  if (!grad_enabled()) return (*part)(inputs);
  const ParametersRead parameters;
  Tensor y = (*part)(inputs);
  if (!y.requires_grad()) return y;
  auto again = std::make_unique<Again>(std::move(part), inputs, parameters.found);
  return record("recompute", y.detach(), inputs, std::move(again));
}

}  // namespace lux
