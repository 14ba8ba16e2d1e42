// The part of cuDNN 9's backend interface that luxgrad calls. Its numbers and signatures are a stable binary
// interface; they are written down here, so that building needs no file of NVIDIA's.
// tests/cudnn_graphs_test.cpp has the real library take all of them, where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "luxgrad/kernels/cuda/shared_library.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux::cuda {

/// What a descriptor describes.
enum class CudnnKind : int {
  pointwise = 0,
  convolution = 1,
  engine = 2,
  engine_config = 3,
  heuristics = 4,
  plan = 5,
  knob_choice = 7,
  forward = 10,
  weight_gradient = 11,
  input_gradient = 12,
  pointwise_operation = 13,
  graph = 15,
  variant_pack = 16,
  tensor = 17,
  device = 38,
};

enum class CudnnAttribute : int {
  pointwise_mode = 0,
  pointwise_precision = 1,
  convolution_compute_type = 100,
  convolution_mode = 101,
  convolution_dilations = 102,
  convolution_strides = 103,
  convolution_post_padding = 104,
  convolution_pre_padding = 105,
  convolution_dimensions = 106,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  heuristics_device = 204,
  config_engine = 300,
  config_knobs = 302,
  plan_handle = 400,
  plan_config = 401,
  plan_workspace = 402,
  plan_device = 407,
  knob_type = 600,
  knob_value = 601,
  // Of the three convolutions: alpha, beta, convolution, then the tensors.
  forward_alpha = 700,
  forward_beta = 701,
  forward_convolution = 702,
  forward_w = 703,
  forward_x = 704,
  forward_y = 705,
  input_gradient_alpha = 706,
  input_gradient_beta = 707,
  input_gradient_convolution = 708,
  input_gradient_w = 709,
  input_gradient_dx = 710,
  input_gradient_dy = 711,
  weight_gradient_alpha = 712,
  weight_gradient_beta = 713,
  weight_gradient_convolution = 714,
  weight_gradient_dw = 715,
  weight_gradient_x = 716,
  weight_gradient_dy = 717,
  pointwise_descriptor = 750,
  pointwise_x = 751,
  pointwise_b = 752,
  pointwise_y = 753,
  graph_handle = 800,
  graph_operations = 801,
  tensor_alignment = 900,
  tensor_type = 901,
  tensor_dimensions = 902,
  tensor_strides = 903,
  tensor_id = 906,
  tensor_virtual = 907,
  pack_ids = 1000,
  pack_pointers = 1001,
  pack_workspace = 1003,
  engine_index = 1301,
  engine_numerical_notes = 1303,
  engine_behavior_notes = 1305,
  device_handle = 2701,
  device_json = 2702,
};

/// The type of an attribute's elements.
enum class CudnnType : int {
  handle = 0,
  data_type = 1,
  boolean = 2,
  int64 = 3,
  float32 = 4,
  pointer = 6,
  convolution_mode = 7,
  heuristics_mode = 8,
  knob_type = 9,
  numerical_note = 11,
  pointwise_mode = 14,
  descriptor = 15,
  behavior_note = 19,
  characters = 24,
};

enum class CudnnDataType : int { f32 = 0, f16 = 2, bf16 = 9 };
enum class CudnnPointwise : int { add = 0, relu = 100 };

inline constexpr int kCudnnCrossCorrelation = 1;
inline constexpr int kCudnnHeuristicsA = 3;  // the full ones; results best first
inline constexpr int kCudnnHeuristicsFallback = 2;

/// What an engine says about its numbers, as bits 1 << note.
enum CudnnNumericalNote : unsigned {
  kTensorCore = 1U << 0,
  kDownConvertInputs = 1U << 1,
  kReducedPrecisionReduction = 1U << 2,
  kFft = 1U << 3,
  kNondeterministic = 1U << 4,
  kWinograd = 1U << 5,
};
inline constexpr int kCudnnNumericalNotes = 10, kCudnnBehaviorNotes = 5, kCudnnKnobTypes = 44;
inline constexpr unsigned kRuntimeCompilation = 1U << 0;  // among the behaviour notes

using CudnnDescriptor = void*;
using CudnnHandle = void*;

/// The functions of an open cuDNN. Those that return int return 0 for success.
struct CudnnApi {
  SharedLibrary library;
  size_t (*version)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  void (*last_error)(char* text, size_t bytes) = nullptr;
  int (*create)(CudnnHandle*) = nullptr;
  int (*destroy)(CudnnHandle) = nullptr;
  int (*set_stream)(CudnnHandle, void* stream) = nullptr;
  int (*create_descriptor)(CudnnKind, CudnnDescriptor*) = nullptr;
  int (*destroy_descriptor)(CudnnDescriptor) = nullptr;
  int (*finalize)(CudnnDescriptor) = nullptr;
  int (*set_attribute)(CudnnDescriptor, CudnnAttribute, CudnnType, int64_t count, const void*) = nullptr;
  int (*get_attribute)(CudnnDescriptor, CudnnAttribute, CudnnType, int64_t most, int64_t* count,
                       void*) = nullptr;
  int (*execute)(CudnnHandle, CudnnDescriptor plan, CudnnDescriptor variant_pack) = nullptr;

  /// Throws Error that names `what` and gives cuDNN's reason, unless `status` is success; OutOfDeviceMemory
  /// where it is want of memory.
  void check(int status, const char* what) const;
  /// The same for a call that takes memory of the device, which may need what the pool keeps.
  void check_with_room(FunctionRef<int()> call, const char* what) const;
};

/// Opens cuDNN and checks its version: 9.8 or a later 9, the first that describes devices. Throws
/// DeviceUnavailable.
CudnnApi open_cudnn();

/// `9.19.0` of 91900.
std::string cudnn_version_text(size_t version);

}  // namespace lux::cuda
