// A small wrapper of cuDNN's backend graphs: tensors, the three convolutions and pointwise operations make a
// graph; for a graph cuDNN offers engines, best first; an engine becomes a plan, and a plan runs. Everything
// but running needs the description of a device, not the device.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "luxgrad/kernels/cuda/cudnn_api.h"
#include "luxgrad/tensor/shape.h"

namespace lux::cuda {

/// One object of cuDNN's, owned. `api` must outlive it. All members throw Error with cuDNN's reason.
class Descriptor {
 public:
  Descriptor(const CudnnApi& api, CudnnKind kind);
  Descriptor(Descriptor&& other) noexcept
      : api_(other.api_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();

  template <class T>
  Descriptor& set(CudnnAttribute attribute, CudnnType type, int64_t count, const T* values) {
    return set_bytes(attribute, type, count, static_cast<const void*>(values));
  }
  Descriptor& set(CudnnAttribute attribute, CudnnType type, int value) {
    return set(attribute, type, 1, &value);
  }
  Descriptor& set(CudnnAttribute attribute, const std::vector<int64_t>& values) {
    return set(attribute, CudnnType::int64, static_cast<int64_t>(values.size()), values.data());
  }
  Descriptor& set(CudnnAttribute attribute, float value) {
    return set(attribute, CudnnType::float32, 1, &value);
  }
  Descriptor& set(CudnnAttribute attribute, bool value) {
    return set(attribute, CudnnType::boolean, 1, &value);
  }
  Descriptor& set(CudnnAttribute attribute, CudnnDataType value) {
    return set(attribute, CudnnType::data_type, static_cast<int>(value));
  }
  Descriptor& set(CudnnAttribute attribute, const Descriptor& value) {
    return set(attribute, CudnnType::descriptor, 1, &value.descriptor_);
  }
  /// `what` says in an error what could not be made.
  Descriptor& finalize(const char* what);

  /// Fills at most `most` values; returns how many there are.
  template <class T>
  int64_t get(CudnnAttribute attribute, CudnnType type, int64_t most, T* values) const {
    return get_bytes(attribute, type, most, static_cast<void*>(values));
  }
  int64_t integer(CudnnAttribute attribute) const;

  CudnnDescriptor handle() const { return descriptor_; }
  const CudnnApi& api() const { return *api_; }

 private:
  Descriptor& set_bytes(CudnnAttribute attribute, CudnnType type, int64_t count, const void* values);
  int64_t get_bytes(CudnnAttribute attribute, CudnnType type, int64_t most, void* values) const;

  const CudnnApi* api_;
  CudnnDescriptor descriptor_ = nullptr;
};

/// A device by its description, the JSON that cuDNN itself writes of one.
Descriptor device_from_json(const CudnnApi& api, const std::string& json);
/// The device that a handle was made for.
Descriptor device_of(const CudnnApi& api, CudnnHandle handle);
/// What cuDNN writes of a device.
std::string json_of(const Descriptor& device);

/// What plans are made for: the device of a handle, or one by its description alone. The latter cannot be
/// run.
struct Target {
  const CudnnApi& api() const { return description.api(); }

  Descriptor description;
  CudnnHandle handle = nullptr;
};

/// How a convolution walks: padding before and after, rows then columns.
struct Walk {
  int64_t stride = 1;
  std::array<int64_t, 2> before{}, after{};
};

/// Tensors are known by their ids, 1, 2, … in the order in which they were added.
class Graph {
 public:
  /// All tensors that are not virtual have elements of `type`; sums are in f32.
  Graph(const CudnnApi& api, CudnnDataType type) : api_(&api), type_(type) {}

  /// [N, H, W, C], or a weight [K, kH, kW, C], dense and channels last, 16-byte aligned.
  int64_t tensor(const Shape& shape) { return add_tensor(shape, type_, false); }
  /// A value between two operations, which has no bytes; in f32.
  int64_t value(const Shape& shape) { return add_tensor(shape, CudnnDataType::f32, true); }

  void forward(const Walk& walk, int64_t x, int64_t w, int64_t y);
  void input_gradient(const Walk& walk, int64_t dy, int64_t w, int64_t dx);
  void weight_gradient(const Walk& walk, int64_t x, int64_t dy, int64_t dw);
  void add(int64_t x, int64_t bias, int64_t y);
  void relu(int64_t x, int64_t y);

  /// The graph of what was added. To be called once, at the end.
  const Descriptor& finish(const Target& target);
  const Descriptor& descriptor() const { return parts_.back(); }

 private:
  int64_t add_tensor(const Shape& shape, CudnnDataType type, bool is_virtual);
  const Descriptor& tensor_of(int64_t id) const { return tensors_[static_cast<size_t>(id - 1)]; }
  const Descriptor& convolution(const Walk& walk);
  Descriptor pointwise(CudnnPointwise mode);

  const CudnnApi* api_;
  CudnnDataType type_;
  std::vector<Descriptor> tensors_, operations_;
  std::vector<Descriptor> parts_;  // what others refer to, kept alive; at last the graph
};

/// A way to run a graph.
struct Engine {
  Descriptor config;
  int64_t index = 0;                     ///< cuDNN's number of the engine
  unsigned numerical = 0, behavior = 0;  ///< CudnnNumericalNote and kRuntimeCompilation
  std::string name;                      ///< `e4 k2=7 k14=3`: the engine and its knobs, in order
};

/// The engines that cuDNN offers for a finished graph, best first by its own estimate; none where the graph
/// is not supported.
std::vector<Engine> offered_engines(const Graph& graph, const Target& target);

/// An engine made ready for a device.
class Plan {
 public:
  /// Throws Error where the engine needs what is not there, for example a driver to compile with.
  Plan(const Engine& engine, const Target& target);

  int64_t workspace() const { return workspace_; }
  /// Runs on the handle's stream. `bindings` are ids with the addresses of their bytes.
  void execute(CudnnHandle handle, const std::vector<std::pair<int64_t, void*>>& bindings,
               void* workspace) const;

 private:
  Descriptor descriptor_;
  int64_t workspace_ = 0;
};

}  // namespace lux::cuda
