#include "luxgrad/kernels/cuda/cudnn_graph.h"

namespace lux::cuda {
namespace {

using enum CudnnAttribute;

// Shapes are [N, H, W, C] here and (N, C, H, W) with strides there.
std::vector<int64_t> dimensions(const Shape& s) { return {s[0], s[3], s[1], s[2]}; }
std::vector<int64_t> strides(const Shape& s) { return {s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]}; }

unsigned notes(const Descriptor& engine, CudnnAttribute attribute, CudnnType type, int64_t most) {
  std::array<int, kCudnnNumericalNotes> values{};
  const int64_t count = std::min(most, engine.get(attribute, type, most, values.data()));
  unsigned bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int note = values[static_cast<size_t>(i)];
    if (note >= 0 && note < 32) bits |= 1U << note;
  }
  return bits;
}

/// `k2=7 k14=3`
std::string knobs_of(const Descriptor& config) {
  std::vector<Descriptor> knobs;
  std::vector<CudnnDescriptor> handles;
  handles.reserve(kCudnnKnobTypes);
  for (int i = 0; i < kCudnnKnobTypes; ++i)
    handles.push_back(knobs.emplace_back(config.api(), CudnnKind::knob_choice).handle());
  const int64_t count = config.get(config_knobs, CudnnType::descriptor, kCudnnKnobTypes, handles.data());
  std::string text;
  for (size_t i = 0; i < knobs.size() && static_cast<int64_t>(i) < count; ++i) {
    int type = 0;
    knobs[i].get(knob_type, CudnnType::knob_type, 1, &type);
    text += cat(" k", type, "=", knobs[i].integer(knob_value));
  }
  return text;
}

void add_offers(std::vector<Engine>& engines, const Graph& graph, const Target& target, int mode) {
  const CudnnApi& api = target.api();
  Descriptor heuristics(api, CudnnKind::heuristics);
  heuristics.set(heuristics_graph, graph.descriptor()).set(heuristics_mode, CudnnType::heuristics_mode, mode);
  if (target.handle == nullptr) heuristics.set(heuristics_device, target.description);
  if (api.finalize(heuristics.handle()) != 0) return;  // no engine runs such a graph
  int64_t count = 0;
  if (api.get_attribute(heuristics.handle(), heuristics_results, CudnnType::descriptor, 0, &count, nullptr) !=
      0)
    return;
  std::vector<Descriptor> configs;
  std::vector<CudnnDescriptor> handles;
  handles.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    handles.push_back(configs.emplace_back(api, CudnnKind::engine_config).handle());
  count = heuristics.get(heuristics_results, CudnnType::descriptor, count, handles.data());
  for (int64_t i = 0; i < count && i < static_cast<int64_t>(configs.size()); ++i) {
    Descriptor engine(api, CudnnKind::engine);
    CudnnDescriptor handle = engine.handle();
    Descriptor& config = configs[static_cast<size_t>(i)];
    config.get(config_engine, CudnnType::descriptor, 1, &handle);
    const int64_t index = engine.integer(engine_index);
    engines.push_back(
        {.config = std::move(config),
         .index = index,
         .numerical = notes(engine, engine_numerical_notes, CudnnType::numerical_note, kCudnnNumericalNotes),
         .behavior = notes(engine, engine_behavior_notes, CudnnType::behavior_note, kCudnnBehaviorNotes),
         .name = {}});
    engines.back().name = cat("e", index, knobs_of(engines.back().config));
  }
}

}  // namespace

Descriptor::Descriptor(const CudnnApi& api, CudnnKind kind) : api_(&api) {
  api.check(api.create_descriptor(kind, &descriptor_), "making a descriptor");
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) api_->destroy_descriptor(descriptor_);
}

Descriptor& Descriptor::set_bytes(CudnnAttribute attribute, CudnnType type, int64_t count,
                                  const void* values) {
  api_->check(api_->set_attribute(descriptor_, attribute, type, count, values), "describing a graph");
  return *this;
}

Descriptor& Descriptor::finalize(const char* what) {
  api_->check_with_room([&] { return api_->finalize(descriptor_); }, what);
  return *this;
}

int64_t Descriptor::get_bytes(CudnnAttribute attribute, CudnnType type, int64_t most, void* values) const {
  int64_t count = 0;
  api_->check(api_->get_attribute(descriptor_, attribute, type, most, &count, values), "asking a descriptor");
  return count;
}

int64_t Descriptor::integer(CudnnAttribute attribute) const {
  int64_t value = 0;
  get(attribute, CudnnType::int64, 1, &value);
  return value;
}

Descriptor device_from_json(const CudnnApi& api, const std::string& json) {
  Descriptor device(api, CudnnKind::device);
  device.set(device_json, CudnnType::characters, static_cast<int64_t>(json.size()), json.data());
  device.finalize("reading the description of a device");
  return device;
}

Descriptor device_of(const CudnnApi& api, CudnnHandle handle) {
  Descriptor device(api, CudnnKind::device);
  device.set(device_handle, CudnnType::handle, 1, &handle).finalize("describing the device");
  return device;
}

std::string json_of(const Descriptor& device) {
  std::string text(
      static_cast<size_t>(device.get(device_json, CudnnType::characters, 0, static_cast<char*>(nullptr))),
      '\0');
  const int64_t bytes = static_cast<int64_t>(text.size());
  device.get(device_json, CudnnType::characters, bytes, text.data());
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

int64_t Graph::add_tensor(const Shape& shape, CudnnDataType type, bool is_virtual) {
  const int64_t id = static_cast<int64_t>(tensors_.size()) + 1;
  Descriptor& tensor = tensors_.emplace_back(*api_, CudnnKind::tensor);
  tensor.set(tensor_type, type)
      .set(tensor_dimensions, dimensions(shape))
      .set(tensor_strides, strides(shape))
      .set(tensor_id, std::vector{id})
      .set(tensor_alignment, std::vector<int64_t>{16})
      .set(tensor_virtual, is_virtual)
      .finalize("describing a tensor");
  return id;
}

const Descriptor& Graph::convolution(const Walk& walk) {
  Descriptor& part = parts_.emplace_back(*api_, CudnnKind::convolution);
  part.set(convolution_compute_type, CudnnDataType::f32)
      .set(convolution_mode, CudnnType::convolution_mode, kCudnnCrossCorrelation)
      .set(convolution_dimensions, std::vector<int64_t>{2})
      .set(convolution_dilations, std::vector<int64_t>{1, 1})
      .set(convolution_strides, std::vector{walk.stride, walk.stride})
      .set(convolution_pre_padding, std::vector{walk.before[0], walk.before[1]})
      .set(convolution_post_padding, std::vector{walk.after[0], walk.after[1]})
      .finalize("describing a convolution");
  return part;
}

void Graph::forward(const Walk& walk, int64_t x, int64_t w, int64_t y) {
  Descriptor operation(*api_, CudnnKind::forward);
  operation.set(forward_convolution, convolution(walk))
      .set(forward_x, tensor_of(x))
      .set(forward_w, tensor_of(w))
      .set(forward_y, tensor_of(y))
      .set(forward_alpha, 1.0F)
      .set(forward_beta, 0.0F)
      .finalize("describing a convolution");
  operations_.push_back(std::move(operation));
}

void Graph::input_gradient(const Walk& walk, int64_t dy, int64_t w, int64_t dx) {
  Descriptor operation(*api_, CudnnKind::input_gradient);
  operation.set(input_gradient_convolution, convolution(walk))
      .set(input_gradient_dy, tensor_of(dy))
      .set(input_gradient_w, tensor_of(w))
      .set(input_gradient_dx, tensor_of(dx))
      .set(input_gradient_alpha, 1.0F)
      .set(input_gradient_beta, 0.0F)
      .finalize("describing the gradient of a convolution's input");
  operations_.push_back(std::move(operation));
}

void Graph::weight_gradient(const Walk& walk, int64_t x, int64_t dy, int64_t dw) {
  Descriptor operation(*api_, CudnnKind::weight_gradient);
  operation.set(weight_gradient_convolution, convolution(walk))
      .set(weight_gradient_x, tensor_of(x))
      .set(weight_gradient_dy, tensor_of(dy))
      .set(weight_gradient_dw, tensor_of(dw))
      .set(weight_gradient_alpha, 1.0F)
      .set(weight_gradient_beta, 0.0F)
      .finalize("describing the gradient of a convolution's weight");
  operations_.push_back(std::move(operation));
}

// The descriptor of the formula stays among the parts.
Descriptor Graph::pointwise(CudnnPointwise mode) {
  Descriptor& formula = parts_.emplace_back(*api_, CudnnKind::pointwise);
  formula.set(pointwise_mode, CudnnType::pointwise_mode, static_cast<int>(mode))
      .set(pointwise_precision, CudnnDataType::f32)
      .finalize("describing a pointwise operation");
  Descriptor operation(*api_, CudnnKind::pointwise_operation);
  operation.set(pointwise_descriptor, formula);
  return operation;
}

void Graph::add(int64_t x, int64_t bias, int64_t y) {
  Descriptor operation = pointwise(CudnnPointwise::add);
  operation.set(pointwise_x, tensor_of(x))
      .set(pointwise_b, tensor_of(bias))
      .set(pointwise_y, tensor_of(y))
      .finalize("describing a bias");
  operations_.push_back(std::move(operation));
}

void Graph::relu(int64_t x, int64_t y) {
  Descriptor operation = pointwise(CudnnPointwise::relu);
  operation.set(pointwise_x, tensor_of(x))
      .set(pointwise_y, tensor_of(y))
      .finalize("describing an activation");
  operations_.push_back(std::move(operation));
}

// By the handle where there is one, as programs with a device do: what is planned by a description is meant
// to be stored and read back before it runs.
const Descriptor& Graph::finish(const Target& target) {
  std::vector<CudnnDescriptor> handles;
  handles.reserve(operations_.size());
  for (const Descriptor& operation : operations_) handles.push_back(operation.handle());
  Descriptor& graph = parts_.emplace_back(*api_, CudnnKind::graph);
  graph.set(graph_operations, CudnnType::descriptor, static_cast<int64_t>(handles.size()), handles.data());
  if (target.handle != nullptr) graph.set(graph_handle, CudnnType::handle, 1, &target.handle);
  graph.finalize("making a graph");
  return graph;
}

std::vector<Engine> offered_engines(const Graph& graph, const Target& target) {
  std::vector<Engine> engines;
  for (const int mode : {kCudnnHeuristicsA, kCudnnHeuristicsFallback})
    add_offers(engines, graph, target, mode);
  return engines;
}

Plan::Plan(const Engine& engine, const Target& target) : descriptor_(target.api(), CudnnKind::plan) {
  descriptor_.set(plan_config, engine.config);
  if (target.handle != nullptr)
    descriptor_.set(plan_handle, CudnnType::handle, 1, &target.handle);
  else
    descriptor_.set(plan_device, target.description);
  descriptor_.finalize("making a plan");
  workspace_ = descriptor_.integer(plan_workspace);
}

void Plan::execute(CudnnHandle handle, const std::vector<std::pair<int64_t, void*>>& bindings,
                   void* workspace) const {
  const CudnnApi& api = descriptor_.api();
  std::vector<int64_t> ids;
  std::vector<void*> pointers;
  for (const auto& [id, pointer] : bindings) {
    ids.push_back(id);
    pointers.push_back(pointer);
  }
  Descriptor pack(api, CudnnKind::variant_pack);
  pack.set(pack_ids, ids)
      .set(pack_pointers, CudnnType::pointer, static_cast<int64_t>(pointers.size()), pointers.data())
      .set(pack_workspace, CudnnType::pointer, 1, &workspace)
      .finalize("binding a plan");
  api.check_with_room([&] { return api.execute(handle, descriptor_.handle(), pack.handle()); },
                      "running a plan");
}

}  // namespace lux::cuda
