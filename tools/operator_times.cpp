#include "luxgrad/tools/operator_times.h"

#include <algorithm>
#include <chrono>

namespace lux {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double bytes_of(const Tensor& tensor) {
  return tensor.defined() ? static_cast<double>(tensor.numel()) * static_cast<double>(size_of(tensor.dtype()))
                          : 0;
}

// The weight of a convolution stands before its bias, defined or not.
const Tensor* weight_of(const std::string& name, const Tensors& inputs) {
  if ((name != "conv2d" && name != "conv_transpose2d") || inputs.size() < 3) return nullptr;
  return &inputs[inputs.size() - 2];
}

// Of convolutions, as the direct sum has them; of other operators memory is what counts.
double flops_of(const std::string& name, const Tensor& y, const Tensors& inputs) {
  const Tensor* const w = weight_of(name, inputs);
  if (w == nullptr) return 0;
  const int64_t taps = w->numel() / w->size(0);
  const int64_t products = name == "conv2d" ? y.numel() * taps : inputs[0].numel() / w->size(3) * w->numel();
  return 2 * static_cast<double>(products);
}

std::string title(const std::string& name, const Tensor& y, const Tensors& inputs) {
  std::string text = name;
  if (const Tensor* const w = weight_of(name, inputs)) append(text, cat(" ", w->size(1), "x", w->size(2)));
  if (!inputs.empty() && inputs[0].defined()) append(text, cat(" ", inputs[0].shape()));
  if (inputs.size() > 3 && weight_of(name, inputs) != nullptr)
    append(text, cat(" and ", inputs.size() - 3, " more"));
  append(text, cat(" -> ", y.shape()));
  return text;
}

}  // namespace

OperatorTimes::OperatorTimes(Device device) : on_device_(device != kCpu), last_(now()) {
  if (on_device_) marks_.emplace_back();
}

OperatorTimes::Row& OperatorTimes::row_of(const std::string& called) {
  auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.name == called; });
  if (row == rows_.end()) row = rows_.insert(rows_.end(), Row{called});
  return *row;
}

void OperatorTimes::on_forward(const char* name, const Tensor& y, const Tensors& inputs) {
  const double time = now();
  if (on_device_) marks_.emplace_back();
  Row& row = row_of(title(name, y, inputs));
  ++row.calls;
  row.flops += flops_of(name, y, inputs);
  row.bytes += bytes_of(y);
  for (const Tensor& input : inputs) row.bytes += bytes_of(input);
  if (on_device_)
    called_.push_back(static_cast<size_t>(&row - rows_.data()));
  else
    row.seconds += time - last_;
  last_ = now();
}

std::vector<OperatorTimes::Row> OperatorTimes::rows() const {
  std::vector<Row> sorted = rows_;
  for (size_t call = 0; call < called_.size(); ++call)
    sorted[called_[call]].seconds += 1e-3 * marks_[call + 1].milliseconds_since(marks_[call]);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return sorted;
}

}  // namespace lux
