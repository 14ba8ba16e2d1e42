#include "luxgrad/models/layer_table.h"

#include <cmath>
#include <numeric>
#include <set>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// `encoder.conv1.weight` is a parameter of `encoder.conv1`.
std::string layer_of(const std::string& parameter) { return parameter.substr(0, parameter.rfind('.')); }

// Multiply-adds of one operator per element of its result.
int64_t macs_per_output(const std::string& kind, const Tensor& weight, int64_t stride_squared) {
  if (kind == "conv2d" || kind == "linear") return weight.numel() / weight.size(0);
  if (kind == "conv_transpose2d") return weight.numel() / weight.size(0) / stride_squared;
  return 0;
}

// Writes a row for every operator that reads parameters.
class Layers final : public Observer {
 public:
  explicit Layers(const std::vector<NamedTensor>& parameters) : parameters_(parameters) {}

  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override {
    LayerRow row{.kind = name, .output = y.shape()};
    if (find(y) != nullptr) return;  // the parameter in another shape
    for (const Tensor& input : inputs) {
      const auto* const parameter = find(input);
      if (parameter == nullptr) continue;
      if (row.name.empty()) {
        const int64_t pixels = inputs[0].shape().rank() == 4 ? inputs[0].size(1) * inputs[0].size(2) : 1;
        const int64_t grown = y.shape().rank() == 4 ? y.size(1) * y.size(2) / pixels : 1;
        row.name = layer_of(parameter->name);
        row.macs = macs_per_output(name, input, grown);  // times the result, once its size is known
      }
      if (counted_.insert(parameter->name).second) row.parameters += input.numel();
    }
    if (!row.name.empty()) rows.push_back(std::move(row));
  }
  void on_backward(const char*, const Grads&) override {}

  /// Layers that did not run, with what else they hold.
  void add_unused() {
    for (const auto& [name, parameter] : parameters_) {
      if (!counted_.insert(name).second) continue;
      if (rows.back().kind.empty() && rows.back().name == layer_of(name))
        rows.back().parameters += parameter.numel();
      else
        rows.push_back({.name = layer_of(name), .kind = "", .parameters = parameter.numel()});
    }
  }

  std::vector<LayerRow> rows;

 private:
  const NamedTensor* find(const Tensor& tensor) const {
    if (!tensor.defined()) return nullptr;
    for (const NamedTensor& parameter : parameters_) {
      if (parameter.tensor.storage() == tensor.storage()) return &parameter;
    }
    return nullptr;
  }

  const std::vector<NamedTensor>& parameters_;
  std::set<std::string> counted_;
};

std::vector<LayerRow> rows_on(const Model& model, int64_t height, int64_t width) {
  const std::vector<NamedTensor> parameters = model.named_parameters();
  const NoGrad no_grad;
  Layers layers(parameters);
  model.enhance(full({1, height, width, 3}, 0.25), 1);
  layers.add_unused();
  return layers.rows;
}

// A side of a map, in which a stage that leaves a rest rounds up.
int64_t scaled(int64_t small, int64_t large, int64_t small_side, int64_t side) {
  const double share = static_cast<double>(side - small_side) / static_cast<double>(small_side);
  return static_cast<int64_t>(
      std::ceil(static_cast<double>(small) + share * static_cast<double>(large - small)));
}

}  // namespace

std::vector<LayerRow> layer_table(const Model& model, int64_t height, int64_t width) {
  const int64_t multiple = model.traits().size_multiple, side = std::lcm(multiple, kSmallSide);
  std::vector<LayerRow> rows = rows_on(model, side, side);
  const std::vector<LayerRow> large = rows_on(model, 2 * side, 2 * side);
  check(rows.size() == large.size(), "layer_table: expected the same layers for every size of picture");
  const int64_t sides[] = {detail::blocks_of(height, multiple) * multiple,
                           detail::blocks_of(width, multiple) * multiple};
  for (size_t i = 0; i < rows.size(); ++i) {
    LayerRow& row = rows[i];
    if (row.output.rank() == 4) {
      for (const int d : {1, 2})
        row.output = row.output.with(d, scaled(row.output[d], large[i].output[d], side, sides[d - 1]));
    }
    row.macs *= row.output.numel();
  }
  return rows;
}

}  // namespace lux
