// A cuDNN and a cuBLAS for tests, as a library of its own: it keeps what graphs are described by and runs
// them, by the definition, in the memory of the host, or on a device that the program plays (fake_cudnn.h).
// Its engines differ in ways that show in results:
//
//     e7       first, and nondeterministic: its results are off by 1000
//     e5       tensor cores: f32 is rounded to eleven bits
//     e4       compiled at run time: has no plan
//     e6       compiled at run time, where that is possible: its results are off by 1000
//     e9       a workspace of 1 GiB
//     e3 e3    the same with other knobs, and a workspace of 64 bytes that it writes
//     e0       of the fallback
//
// Graphs with kernels of six rows have no engine. Products of bf16 and f16 are off by 1000 by a handle whose
// math mode allows reductions in less than f32, and products fail by a handle without a workspace, or that
// was given back, which holds -1. On a device nothing is launched by a handle that has no stream, or another
// than the device's, nor with addresses of the host, and a plan that is launched after it was destroyed ends
// the program.
#include "fake_cudnn.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "luxgrad/kernels/cuda/cudnn_api.h"
#include "luxgrad/tensor/dtype.h"

using namespace lux;
using namespace lux::cuda;
using enum CudnnAttribute;

namespace {

struct Object {
  CudnnKind kind{};
  bool final = false;
  std::map<CudnnAttribute, std::vector<char>> values;

  template <class T>
  std::vector<T> get(CudnnAttribute attribute) const {
    const std::vector<char>& bytes = values.at(attribute);
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(static_cast<void*>(result.data()), bytes.data(), result.size() * sizeof(T));
    return result;
  }
  const Object& ref(CudnnAttribute attribute) const { return *get<Object*>(attribute).at(0); }
  template <class T>
  void put(CudnnAttribute attribute, const std::vector<T>& list) {
    const char* const bytes = reinterpret_cast<const char*>(list.data());
    values[attribute].assign(bytes, bytes + list.size() * sizeof(T));
  }
};

const FakeDevice* played = nullptr;  // null: memory of the host
std::map<void*, void*> streams;      // of the handles that have one
std::map<void*, void*> workspaces;   // which else would be allocated for every graph

/// Whether the device reaches it.
bool reaches(const void* address) { return played == nullptr || played->holds(address); }

/// Whether the work is done, or will be when the stream gets there.
bool launch(void* handle, std::function<void()> work) {
  if (played != nullptr)
    return streams.contains(handle) && played->launch(streams.at(handle), std::move(work));
  work();
  return true;
}

thread_local const char* last_error = "";

int refuse(const char* why) {
  last_error = why;
  return 2000;
}

size_t bytes_of(CudnnType type) {
  switch (type) {
    case CudnnType::int64:
    case CudnnType::handle:
    case CudnnType::pointer:
    case CudnnType::descriptor:
      return 8;
    case CudnnType::boolean:
    case CudnnType::characters:
      return 1;
    default:
      return 4;
  }
}

struct FakeEngine {
  int64_t index;
  int64_t knob;
  std::vector<int> notes;
  int64_t workspace;
  bool compiled;
};
const std::vector<FakeEngine> kEngines = {{7, 0, {4}, 0, false},
                                          {5, 0, {0}, 0, false},
                                          {4, 0, {}, 0, true},
                                          {6, 0, {}, 0, true},
                                          {9, 0, {}, int64_t{1} << 30, false},
                                          {3, 1, {}, 64, false},
                                          {3, 2, {}, 64, false}};
const FakeEngine kFallback = {0, 0, {}, 0, false};

/// A picture or a weight by its strides, in double.
struct Picture {
  std::vector<int64_t> size, stride;  // (N, C, H, W)
  std::vector<double> at;

  explicit Picture(const Object& tensor)
      : size(tensor.get<int64_t>(tensor_dimensions)), stride(tensor.get<int64_t>(tensor_strides)) {
    int64_t last = 0;
    for (size_t d = 0; d < 4; ++d) last += (size[d] - 1) * stride[d];
    at.assign(static_cast<size_t>(last) + 1, 0.0);
  }
  double& operator()(int64_t n, int64_t c, int64_t h, int64_t w) {
    const auto one = [](int64_t index, int64_t count) { return count == 1 ? 0 : index; };
    return at[static_cast<size_t>(one(n, size[0]) * stride[0] + one(c, size[1]) * stride[1] +
                                  one(h, size[2]) * stride[2] + one(w, size[3]) * stride[3])];
  }
};

double rounded(double value) {  // to the eleven bits of tensor cores
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(mantissa * 2048), exponent - 11);
}

/// Runs the operations of a graph, one after the other.
class Run {
 public:
  Run(const FakeEngine& engine, std::map<int64_t, void*> pointers)
      : engine_(engine), pointers_(std::move(pointers)) {}

  void operation(const Object& op) {
    switch (op.kind) {
      case CudnnKind::forward:
        return convolve(op, forward_convolution, forward_x, forward_w, forward_y, 0);
      case CudnnKind::input_gradient:
        return convolve(op, input_gradient_convolution, input_gradient_dx, input_gradient_w,
                        input_gradient_dy, 1);
      case CudnnKind::weight_gradient:
        return convolve(op, weight_gradient_convolution, weight_gradient_x, weight_gradient_dw,
                        weight_gradient_dy, 2);
      default:
        return pointwise(op);
    }
  }

 private:
  Picture read(const Object& tensor) {
    const int64_t id = tensor.get<int64_t>(tensor_id).at(0);
    if (tensor.get<char>(tensor_virtual).at(0) != 0) return between_.at(id);
    Picture picture(tensor);
    void* const data = pointers_.at(id);
    const auto type = tensor.get<CudnnDataType>(tensor_type).at(0);
    for (size_t i = 0; i < picture.at.size(); ++i) {
      double& value = picture.at[i];
      if (type == CudnnDataType::f32) value = static_cast<float*>(data)[i];
      if (type == CudnnDataType::bf16) value = static_cast<double>(float(static_cast<bf16*>(data)[i]));
      if (type == CudnnDataType::f16) value = static_cast<double>(float(static_cast<f16*>(data)[i]));
      if (type == CudnnDataType::f32 && engine_.index == 5) value = rounded(value);
    }
    return picture;
  }

  void write(const Object& tensor, const Picture& picture) {
    const int64_t id = tensor.get<int64_t>(tensor_id).at(0);
    if (tensor.get<char>(tensor_virtual).at(0) != 0) {
      between_.insert_or_assign(id, picture);
      return;
    }
    void* const data = pointers_.at(id);
    const auto type = tensor.get<CudnnDataType>(tensor_type).at(0);
    for (size_t i = 0; i < picture.at.size(); ++i) {
      const float value =
          static_cast<float>(picture.at[i] + (engine_.index == 7 || engine_.index == 6 ? 1000 : 0));
      if (type == CudnnDataType::f32) static_cast<float*>(data)[i] = value;
      if (type == CudnnDataType::bf16) static_cast<bf16*>(data)[i] = bf16(value);
      if (type == CudnnDataType::f16) static_cast<f16*>(data)[i] = f16(value);
    }
  }

  void convolve(const Object& op, CudnnAttribute how, CudnnAttribute x_is, CudnnAttribute w_is,
                CudnnAttribute y_is, size_t result) {
    const Object& walk = op.ref(how);
    const int64_t stride = walk.get<int64_t>(convolution_strides).at(0);
    const auto before = walk.get<int64_t>(convolution_pre_padding);
    const std::array tensors{&op.ref(y_is), &op.ref(x_is), &op.ref(w_is)};
    Picture y = result == 0 ? Picture(*tensors[0]) : read(*tensors[0]);
    Picture x = result == 1 ? Picture(*tensors[1]) : read(*tensors[1]);
    Picture w = result == 2 ? Picture(*tensors[2]) : read(*tensors[2]);
    const int64_t groups = x.size[1] / w.size[1], width = w.size[0] / groups;
    for (int64_t n = 0; n < y.size[0]; ++n)
      for (int64_t k = 0; k < y.size[1]; ++k)
        for (int64_t p = 0; p < y.size[2]; ++p)
          for (int64_t q = 0; q < y.size[3]; ++q)
            for (int64_t i = 0; i < w.size[2]; ++i)
              for (int64_t j = 0; j < w.size[3]; ++j) {
                const int64_t h = p * stride + i - before.at(0), v = q * stride + j - before.at(1);
                if (h < 0 || h >= x.size[2] || v < 0 || v >= x.size[3]) continue;
                for (int64_t c = 0; c < w.size[1]; ++c) {
                  const int64_t channel = k / width * w.size[1] + c;
                  double &from = x(n, channel, h, v), &weight = w(k, c, i, j), &sum = y(n, k, p, q);
                  if (result == 0) sum += from * weight;
                  if (result == 1) from += sum * weight;
                  if (result == 2) weight += from * sum;
                }
              }
    write(*tensors.at(result), result == 0 ? y : result == 1 ? x : w);
  }

  void pointwise(const Object& op) {
    Picture x = read(op.ref(pointwise_x)), y(op.ref(pointwise_y));
    const bool adds =
        op.ref(pointwise_descriptor).get<CudnnPointwise>(pointwise_mode).at(0) == CudnnPointwise::add;
    Picture b = adds ? read(op.ref(pointwise_b)) : x;
    for (int64_t n = 0; n < y.size[0]; ++n)
      for (int64_t c = 0; c < y.size[1]; ++c)
        for (int64_t h = 0; h < y.size[2]; ++h)
          for (int64_t v = 0; v < y.size[3]; ++v)
            y(n, c, h, v) = adds ? x(n, c, h, v) + b(n, c, h, v) : std::fmax(x(n, c, h, v), 0.0);
    write(op.ref(pointwise_y), y);
  }

  const FakeEngine& engine_;
  std::map<int64_t, void*> pointers_;
  std::map<int64_t, Picture> between_;
};

bool has_engines(const Object& graph) {
  for (const Object* op : graph.get<Object*>(graph_operations)) {
    for (const CudnnAttribute weight : {forward_w, input_gradient_w, weight_gradient_dw})
      if (op->values.count(weight) > 0 && op->ref(weight).get<int64_t>(tensor_dimensions).at(2) == 6)
        return false;
  }
  return true;
}

// As cuDNN does: the result has the size that picture, kernel, padding and stride give.
bool sizes_fit(const Object& op, CudnnAttribute how, CudnnAttribute x, CudnnAttribute w, CudnnAttribute y) {
  const auto size = [&](CudnnAttribute tensor, size_t d) {
    return op.ref(tensor).get<int64_t>(tensor_dimensions).at(d + 2);
  };
  const auto each = [&](CudnnAttribute of, size_t d) { return op.ref(how).get<int64_t>(of).at(d); };
  for (size_t d = 0; d < 2; ++d) {
    const int64_t padded =
        size(x, d) + each(convolution_pre_padding, d) + each(convolution_post_padding, d) - size(w, d);
    if (padded < 0 || padded / each(convolution_strides, d) + 1 != size(y, d)) return false;
  }
  return true;
}

bool fits(const Object& op) {
  if (op.kind == CudnnKind::forward)
    return sizes_fit(op, forward_convolution, forward_x, forward_w, forward_y);
  if (op.kind == CudnnKind::input_gradient)
    return sizes_fit(op, input_gradient_convolution, input_gradient_dx, input_gradient_w, input_gradient_dy);
  if (op.kind == CudnnKind::weight_gradient)
    return sizes_fit(op, weight_gradient_convolution, weight_gradient_x, weight_gradient_dw,
                     weight_gradient_dy);
  return true;
}

// Of a handle or of a description, not of both.
bool has_target(const Object& made, CudnnAttribute of_handle, const Object& planned,
                CudnnAttribute of_description) {
  return made.values.count(of_handle) + planned.values.count(of_description) == 1;
}

constexpr auto kEngineOfConfig = CudnnAttribute{100000}, kGraphOfConfig = CudnnAttribute{100001};

void fill(Object& config, const FakeEngine& engine, const Object* graph) {
  config.put(kEngineOfConfig, std::vector<const FakeEngine*>{&engine});
  config.put(kGraphOfConfig, std::vector<const Object*>{graph});
  config.final = true;
}

const FakeEngine& engine_of(const Object& config) {
  return *config.get<const FakeEngine*>(kEngineOfConfig).at(0);
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the names of the libraries
extern "C" {

size_t cudnnGetVersion() { return LUX_FAKE_VERSION; }
const char* cudnnGetErrorString(int) { return "CUDNN_STATUS_BAD_PARAM"; }
void cudnnGetLastErrorString(char* text, size_t bytes) { std::strncpy(text, last_error, bytes); }
int cudnnCreate(CudnnHandle* handle) {
  *handle = new int(0);
  return 0;
}
int cudnnDestroy(CudnnHandle handle) {
  streams.erase(handle);
  delete static_cast<int*>(handle);
  return 0;
}
int cudnnSetStream(CudnnHandle handle, void* stream) {
  streams[handle] = stream;
  return 0;
}
void luxUseFakeDevice(const FakeDevice& device) { played = &device; }

int cudnnBackendCreateDescriptor(CudnnKind kind, CudnnDescriptor* descriptor) {
  *descriptor = new Object{kind, false, {}};
  return 0;
}
int cudnnBackendDestroyDescriptor(CudnnDescriptor descriptor) {
  auto* const object = static_cast<Object*>(descriptor);
  if (played == nullptr)
    delete object;
  else
    *object = {};  // stays, for whoever launches it all the same
  return 0;
}

int cudnnBackendSetAttribute(CudnnDescriptor descriptor, CudnnAttribute attribute, CudnnType type,
                             int64_t count, const void* values) {
  Object& object = *static_cast<Object*>(descriptor);
  if (object.final) return refuse("the descriptor is final");
  const char* const bytes = static_cast<const char*>(values);
  if (type == CudnnType::descriptor) {
    for (int64_t i = 0; i < count; ++i)
      if (!static_cast<Object* const*>(values)[i]->final) return refuse("it refers to what is not final");
  }
  object.values[attribute].assign(bytes, bytes + static_cast<size_t>(count) * bytes_of(type));
  return 0;
}

int cudnnBackendFinalize(CudnnDescriptor descriptor) {
  Object& object = *static_cast<Object*>(descriptor);
  if (object.kind == CudnnKind::heuristics && !has_engines(object.ref(heuristics_graph)))
    return refuse("no engine runs this graph");
  if (object.kind == CudnnKind::heuristics &&
      !has_target(object.ref(heuristics_graph), graph_handle, object, heuristics_device))
    return refuse("it has to be known which device the engines are for");
  if (object.kind == CudnnKind::plan && !has_target(object, plan_handle, object, plan_device))
    return refuse("it has to be known which device the plan is for");
  if (object.kind == CudnnKind::plan && engine_of(object.ref(plan_config)).index == 4)
    return refuse("there is no driver to compile with");
  if (object.kind == CudnnKind::device && object.values.count(device_json) > 0 &&
      object.get<char>(device_json).at(0) != '{')
    return refuse("this is no JSON");
  if (!fits(object)) return refuse("the sizes do not fit");
  object.final = true;
  return 0;
}

int cudnnBackendGetAttribute(CudnnDescriptor descriptor, CudnnAttribute attribute, CudnnType, int64_t most,
                             int64_t* count, void* values) {
  Object& object = *static_cast<Object*>(descriptor);
  const auto integer = [&](int64_t value) {
    *count = 1;
    std::memcpy(values, &value, sizeof(value));
  };
  switch (attribute) {
    case heuristics_results: {
      const bool fallback = object.get<int>(heuristics_mode).at(0) == kCudnnHeuristicsFallback;
      const auto engines = static_cast<int64_t>(fallback ? 1 : kEngines.size());
      for (int64_t i = 0; i < std::min(most, engines); ++i)
        fill(*static_cast<Object**>(values)[i], fallback ? kFallback : kEngines[static_cast<size_t>(i)],
             &object.ref(heuristics_graph));
      *count = engines;
      return 0;
    }
    case config_engine:
      static_cast<Object**>(values)[0]->put(kEngineOfConfig, std::vector{&engine_of(object)});
      *count = 1;
      return 0;
    case config_knobs: {
      Object& knob = *static_cast<Object**>(values)[0];
      knob.put(knob_value, std::vector{engine_of(object).knob});
      *count = engine_of(object).knob == 0 ? 0 : 1;
      return 0;
    }
    case knob_type: {
      const int type = 2;
      *count = 1;
      std::memcpy(values, &type, sizeof(type));
      return 0;
    }
    case knob_value:
      integer(object.get<int64_t>(knob_value).at(0));
      return 0;
    case engine_index:
      integer(engine_of(object).index);
      return 0;
    case engine_numerical_notes: {
      const std::vector<int>& notes = engine_of(object).notes;
      *count = static_cast<int64_t>(notes.size());
      if (!notes.empty()) std::memcpy(values, notes.data(), notes.size() * sizeof(int));
      return 0;
    }
    case engine_behavior_notes:
      *count = engine_of(object).compiled ? 1 : 0;
      if (*count == 1) std::memset(values, 0, sizeof(int));
      return 0;
    case device_json:
      *count = 3;
      if (most >= 3) std::memcpy(values, "{}", 3);
      return 0;
    case plan_workspace:
      integer(engine_of(object.ref(plan_config)).workspace);
      return 0;
    default:
      return refuse("nobody asks for this");
  }
}

int cudnnBackendExecute(CudnnHandle handle, CudnnDescriptor plan, CudnnDescriptor pack) {
  if (handle == nullptr) return refuse("there is no handle");
  const Object& of = *static_cast<Object*>(plan);
  if (of.values.count(plan_handle) == 0 || of.get<CudnnHandle>(plan_handle).at(0) != handle)
    return refuse("the plan is not of this handle");
  const Object& config = of.ref(plan_config);
  const Object& bound = *static_cast<Object*>(pack);
  const FakeEngine& engine = engine_of(config);
  const auto ids = bound.get<int64_t>(pack_ids);
  const auto pointers = bound.get<void*>(pack_pointers);
  std::map<int64_t, void*> where;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (reinterpret_cast<uintptr_t>(pointers.at(i)) % 16 != 0) return refuse("an address is not aligned");
    if (!reaches(pointers.at(i))) return refuse("an address is not of the device");
    where[ids[i]] = pointers.at(i);
  }
  void* const workspace = bound.get<void*>(pack_workspace).at(0);
  if (engine.workspace > 0 && workspace == nullptr) return refuse("there is no workspace");
  if (engine.workspace > 0 && !reaches(workspace)) return refuse("the workspace is not of the device");
  const auto work = [&of, &engine, where, workspace] {
    if (!of.final) {
      std::fputs("fake cuDNN: a plan is launched that was destroyed\n", stderr);
      std::abort();
    }
    if (engine.workspace > 0)
      std::memset(workspace, 0xff, static_cast<size_t>(std::min<int64_t>(engine.workspace, 64)));
    Run run(engine, where);
    const Object& graph = *of.ref(plan_config).get<Object*>(kGraphOfConfig).at(0);
    for (const Object* op : graph.get<Object*>(graph_operations)) run.operation(*op);
  };
  return launch(handle, work) ? 0 : refuse("the handle has no stream of this device");
}

int cublasGetProperty(int which, int* value) {
  *value = which == 0 ? LUX_FAKE_VERSION / 10000 + 3 : which;
  return 0;
}
int cublasCreate_v2(void** handle) {
  *handle = new int(0);
  return 0;
}
int cublasDestroy_v2(void* handle) {
  streams.erase(handle);
  workspaces.erase(handle);
  delete static_cast<int*>(handle);
  return 0;
}
int cublasSetStream_v2(void* handle, void* stream) {
  workspaces.erase(handle);
  return cudnnSetStream(handle, stream);
}
int cublasSetWorkspace_v2(void* handle, void* bytes, size_t count) {
  if (count < (16U << 10) || reinterpret_cast<uintptr_t>(bytes) % 64 != 0 || !reaches(bytes)) return 7;
  workspaces[handle] = bytes;
  return 0;
}
int cublasSetMathMode(void* handle, int mode) {
  if (handle == nullptr) return 1;
  *static_cast<int*>(handle) = mode;
  return 0;
}

int cublasGemmEx(void* handle, int op_a, int op_b, int m, int n, int k, const float* alpha, const void* a,
                 int type, int lda, const void* b, int, int ldb, const float* beta, void* c, int, int ldc,
                 int compute, int algorithm) {
  const int mode = *static_cast<int*>(handle);
  if (mode < 0 || *alpha != 1 || *beta != 0 || algorithm != -1 || !workspaces.contains(handle)) return 7;
  if (!reaches(a) || !reaches(b) || !reaches(c)) return 7;
  const auto read = [=](const void* data, int64_t i) -> double {
    if (type == 14) return float(static_cast<const bf16*>(data)[i]);
    if (type == 2) return float(static_cast<const f16*>(data)[i]);
    const double value = static_cast<const float*>(data)[i];
    return compute == 77 ? rounded(value) : value;
  };
  const auto work = [=] {
    for (int row = 0; row < m; ++row) {
      for (int column = 0; column < n; ++column) {
        double sum = type != 0 && (mode & 16) == 0 ? 1000 : 0;
        for (int i = 0; i < k; ++i)
          sum += read(a, op_a == 0 ? row + int64_t{i} * lda : i + int64_t{row} * lda) *
                 read(b, op_b == 0 ? i + int64_t{column} * ldb : column + int64_t{i} * ldb);
        const int64_t at = row + int64_t{column} * ldc;
        if (type == 14)
          static_cast<bf16*>(c)[at] = bf16(static_cast<float>(sum));
        else if (type == 2)
          static_cast<f16*>(c)[at] = f16(static_cast<float>(sum));
        else
          static_cast<float*>(c)[at] = static_cast<float>(sum);
      }
    }
  };
  return launch(handle, work) ? 0 : 7;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
