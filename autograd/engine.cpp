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
  using Slots = std::vector<std::shared_ptr<GradSlot>>;
  thread_local Slots* draining = nullptr;  // a pointer, because nodes may outlive this thread's destructors
  if (draining != nullptr) {
    draining->insert(draining->end(), inputs.begin(), inputs.end());
    inputs.clear();
    return;
  }
  Slots orphans = std::move(inputs);
  draining = &orphans;
  while (!orphans.empty()) {
    const std::shared_ptr<GradSlot> last = std::move(orphans.back());
    orphans.pop_back();
  }
  draining = nullptr;
}

bool grad_enabled() { return recording; }
NoGrad::NoGrad() : before_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = before_; }

bool detail::wants_grad(const Tensors& inputs) {
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
