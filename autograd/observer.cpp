#include "luxgrad/autograd/observer.h"

#include <algorithm>
#include <chrono>

#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

// Nothing that threads destroy: where there is no memory left to note that, glibc ends the program.
thread_local Observer* newest = nullptr;

// f(observer), for the oldest first.
template <class F>
void tell(Observer* observer, const F& f) {
  if (observer == nullptr) return;
  tell(observer->older(), f);
  f(*observer);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Observer::Observer() : older_(newest) { newest = this; }
Observer::~Observer() {
  Observer** at = &newest;
  while (*at != this) at = &(*at)->older_;
  *at = older_;
}

bool observed() { return newest != nullptr; }

void detail::announce(const char* name, const Tensor& y, const Tensors& inputs) {
  tell(newest, [&](Observer& observer) { observer.on_forward(name, y, inputs); });
}

void detail::announce_backward(const char* name, const Grads& grads) {
  tell(newest, [&](Observer& observer) { observer.on_backward(name, grads); });
}

void Trace::on_forward(const char* name, const Tensor& y, const Tensors& inputs) {
  std::string line = name;
  for (const Tensor& input : inputs) {
    if (input.defined()) append(line, cat(" ", input.shape()));
  }
  lines_.push_back(cat(line, " -> ", y.shape()));
}

void Trace::on_backward(const char* name, const Grads& grads) {
  std::string line = cat("grad ", name);
  for (const Tensor& grad : grads) {
    if (grad.defined()) append(line, cat(" ", grad.shape()));
  }
  lines_.push_back(std::move(line));
}

Profile::Profile() : last_(now()) {}

void Profile::add(std::string name) {
  const double time = now();
  auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.name == name; });
  if (row == rows_.end()) row = rows_.insert(rows_.end(), Row{std::move(name)});
  ++row->calls;
  row->seconds += time - last_;
  last_ = time;
}

void Profile::on_forward(const char* name, const Tensor&, const Tensors&) { add(name); }
void Profile::on_backward(const char* name, const Grads&) { add(cat("grad ", name)); }

std::vector<Profile::Row> Profile::rows() const {
  std::vector<Row> sorted = rows_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return sorted;
}

void FirstNonFinite::on_forward(const char* name, const Tensor& y, const Tensors& inputs) {
  if (!found_.empty()) return;
  element_ = first_non_finite(y);
  if (element_ < 0) return;
  found_ = cat(name, ": element ", element_, " of the result, shape ", y.shape());
  tensor_ = y.detach();
  for (const Tensor& input : inputs) inputs_.push_back(input.detach());
}

void FirstNonFinite::on_backward(const char* name, const Grads& grads) {
  for (size_t i = 0; i < grads.size() && found_.empty(); ++i) {
    element_ = grads[i].defined() ? first_non_finite(grads[i]) : -1;
    if (element_ < 0) continue;
    found_ = cat(name, ": element ", element_, " of the gradient of input ", i, ", shape ", grads[i].shape());
    tensor_ = grads[i];
  }
}

}  // namespace lux
