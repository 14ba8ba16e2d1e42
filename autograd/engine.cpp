#include "luxgrad/autograd/engine.h"

#include <atomic>
#include <map>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

thread_local bool recording = true;
std::atomic<uint64_t> next_sequence{0};

// Adds `grad` to `sum`. The first gradient is shared, not copied; only a sum that nobody else holds is
// written in place.
void accumulate(Tensor& sum, Tensor grad) {
  if (!sum.defined()) {
    sum = std::move(grad);
    return;
  }
  if (sum.storage().use_count() > 1) sum = sum.clone();
  add_(sum, grad);
}

// Nodes whose gradient is known in part, latest first: once a node is at the front, all its consumers have
// run.
struct Pending {
  std::shared_ptr<Node> node;
  Tensor grad;
};
using Agenda = std::map<uint64_t, Pending, std::greater<>>;

void deliver(Agenda& agenda, const std::shared_ptr<GradSlot>& slot, Tensor grad) {
  if (auto node = std::dynamic_pointer_cast<Node>(slot)) {
    Pending& pending = agenda[node->sequence];
    pending.node = std::move(node);
    accumulate(pending.grad, std::move(grad));
  } else if (slot->enabled) {
    accumulate(slot->grad, std::move(grad));
  }
}

}  // namespace

const Tensor& Saved::get() const {
  check(!tensor_.defined() || tensor_.storage()->version() == version_,
        "backward: a tensor that the gradient needs was changed in place after the forward pass, shape ",
        tensor_.shape());
  return tensor_;
}

Node::Node(const char* name, std::vector<std::shared_ptr<GradSlot>> inputs, std::unique_ptr<Closure> closure)
    : name(name), sequence(next_sequence++), inputs(std::move(inputs)), closure(std::move(closure)) {}

Node::~Node() {
  // Nodes that only this one holds wait in a list that runs through themselves: a stack could overflow, and a
  // container find no memory.
  std::shared_ptr<Node> waiting;
  const auto release = [&waiting](std::vector<std::shared_ptr<GradSlot>>& slots) {
    for (std::shared_ptr<GradSlot>& slot : slots) {
      if (slot.use_count() != 1) continue;
      if (auto node = std::dynamic_pointer_cast<Node>(std::move(slot))) {
        node->next_released = std::move(waiting);
        waiting = std::move(node);
      }
    }
    slots.clear();
  };
  release(inputs);
  while (waiting != nullptr) {
    const std::shared_ptr<Node> node = std::move(waiting);
    waiting = std::move(node->next_released);
    release(node->inputs);
  }
}

bool grad_enabled() { return recording; }
NoGrad::NoGrad() : before_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = before_; }
WithGrad::WithGrad() : before_(std::exchange(recording, true)) {}
WithGrad::~WithGrad() { recording = before_; }

bool is_recorded(const Tensors& inputs) {
  if (!grad_enabled()) return false;
  for (const Tensor& input : inputs) {
    if (input.requires_grad()) return true;
  }
  return false;
}

Tensor detail::record(const char* name, Tensor y, const Tensors& inputs, std::unique_ptr<Closure> closure) {
  std::vector<std::shared_ptr<GradSlot>> slots;
  slots.reserve(inputs.size());
  for (const Tensor& input : inputs) slots.push_back(input.requires_grad() ? input.grad_slot() : nullptr);
  auto node = std::make_shared<Node>(name, std::move(slots), std::move(closure));
  node->shape = y.shape();
  node->dtype = y.dtype();
  y.set_grad_slot(std::move(node));
  return y;
}

void backward(const Tensor& loss) {
  check(loss.numel() == 1, "backward: expected a loss with one element, got shape ", loss.shape());
  backward(loss, full(loss.shape(), 1, loss.options()));
}

void backward(const Tensor& y, const Tensor& gy) {
  check(y.requires_grad(), "backward: nothing below this tensor requires gradients");
  check(gy.shape() == y.shape() && gy.dtype() == y.dtype(), "backward: expected a gradient ", y.dtype(), " ",
        y.shape(), ", got ", gy.dtype(), " ", gy.shape());
  const NoGrad no_grad;
  Agenda agenda;
  deliver(agenda, y.grad_slot(), gy);
  while (!agenda.empty()) {
    const Pending now = std::move(agenda.begin()->second);
    agenda.erase(agenda.begin());
    Node& node = *now.node;
    check(node.closure != nullptr, "backward: the graph at ", node.name,
          " was already consumed by an earlier backward");
    const std::unique_ptr<Closure> closure = std::move(node.closure);
    const auto inputs = std::move(node.inputs);
    node.inputs.clear();
    if (const Tensor again = closure->rerun(inputs); again.defined()) {
      check(again.shape() == node.shape && again.dtype() == node.dtype, node.name, ": expected ", node.dtype,
            " ", node.shape, " again, got ", again.dtype(), " ", again.shape());
      // Its nodes are the youngest, so they come next, and everything before them as ever.
      if (again.requires_grad()) deliver(agenda, again.grad_slot(), now.grad);
      continue;
    }
    const OperatorScope scope(OperatorScope::Gradient{}, node.name, now.grad);
    Grads grads = closure->run(now.grad, Need(inputs));
    check(grads.size() == inputs.size(), node.name, ": expected ", inputs.size(), " gradients, got ",
          grads.size());
    detail::announce_backward(node.name, grads);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == nullptr) continue;
      check(grads[i].defined(), node.name, ": no gradient for input ", i);
      const GradSlot& input = *inputs[i];
      check(grads[i].shape() == input.shape && grads[i].dtype() == input.dtype, node.name,
            ": expected a gradient ", input.dtype, " ", input.shape, " for input ", i, ", got ",
            grads[i].dtype(), " ", grads[i].shape());
      deliver(agenda, inputs[i], std::move(grads[i]));
    }
  }
}

}  // namespace lux
