// The CUDA runtime behind the table of tensor/cuda.h. It is linked statically, so a program starts without
// any library of NVIDIA; where there is no driver, `start` says so.
#include <cuda_runtime_api.h>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_code.h"

namespace lux::cuda {
namespace {

cudaStream_t to_stream(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t to_event(void* event) { return static_cast<cudaEvent_t>(event); }

int make_stream(void** stream) {
  cudaStream_t made = nullptr;
  const int error = cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
  *stream = made;
  return error;
}

int make_event(void** event) {
  cudaEvent_t made = nullptr;
  const int error = cudaEventCreateWithFlags(&made, cudaEventBlockingSync);
  *event = made;
  return error;
}

// The runtime's own text for it is about versions.
constexpr int kNoDriver = -1;
const char* text_of(int error) {
  return error == kNoDriver ? "no driver of NVIDIA is installed"
                            : cudaGetErrorString(static_cast<cudaError_t>(error));
}

int default_pool(cudaMemPool_t* pool) { return cudaDeviceGetDefaultMemPool(pool, 0); }

int start(void** stream) {
  int driver = 0, devices = 0;
  if (const int error = cudaDriverGetVersion(&driver); error != 0) return error;
  if (driver == 0) return kNoDriver;
  if (const int error = cudaGetDeviceCount(&devices); error != 0) return error;
  if (devices == 0) return cudaErrorNoDevice;
  if (const int error = cudaSetDevice(0); error != 0) return error;
  if (const int error = has_code(); error != 0) return error;
  cudaMemPool_t pool = nullptr;
  if (const int error = default_pool(&pool); error != 0) return error;
  uint64_t keep = UINT64_MAX;
  if (const int error = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep); error != 0)
    return error;
  int wait = 0;  // a copy would wait for the network where it got memory that this is still to give back
  if (const int error = cudaMemPoolSetAttribute(pool, cudaMemPoolReuseAllowInternalDependencies, &wait);
      error != 0)
    return error;
  return make_stream(stream);
}

int trim() {
  cudaMemPool_t pool = nullptr;
  if (const int error = default_pool(&pool); error != 0) return error;
  return cudaMemPoolTrimTo(pool, 0);
}

int copy(void* to, const void* from, size_t bytes, void* stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, to_stream(stream));
}

// Other streams and allocations go on meanwhile: what must not be asked for is refused above.
int begin_capture(void* stream) {
  return cudaStreamBeginCapture(to_stream(stream), cudaStreamCaptureModeRelaxed);
}

int end_capture(void** graph, void* stream) {
  cudaGraph_t captured = nullptr;
  if (const int error = cudaStreamEndCapture(to_stream(stream), &captured); error != 0) return error;
  cudaGraphExec_t made = nullptr;
  const int error = cudaGraphInstantiate(&made, captured, 0);
  cudaGraphDestroy(captured);
  *graph = made;
  return error;
}

int launch_graph(void* graph, void* stream) {
  return cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), to_stream(stream));
}

constexpr int kContained = 226;  // cudaErrorContained, which CUDA 12 has no name for

// Of these the context does not recover; a launch that is refused is none of them.
bool is_fault(int error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorExternalDevice:
    case kContained:
      return true;
    default:
      return false;
  }
}

const Driver kRuntime = {
    .start = start,
    .text_of = text_of,
    .allocate = [](void** data, size_t bytes, void* stream) -> int {
      return cudaMallocAsync(data, bytes, to_stream(stream));
    },
    .release = [](void* data, void* stream) -> int { return cudaFreeAsync(data, to_stream(stream)); },
    .trim = trim,
    .copy = copy,
    .synchronize = [](void* stream) -> int { return cudaStreamSynchronize(to_stream(stream)); },
    .last_error = []() -> int { return cudaGetLastError(); },
    .out_of_memory = cudaErrorMemoryAllocation,
    .is_fault = is_fault,
    .allocate_host = [](void** data, size_t bytes) -> int { return cudaMallocHost(data, bytes); },
    .release_host = [](void* data) -> int { return cudaFreeHost(data); },
    .make_stream = make_stream,
    .make_event = make_event,
    .record_event = [](void* event, void* stream) -> int {
      return cudaEventRecord(to_event(event), to_stream(stream));
    },
    .wait_on_stream = [](void* event, void* stream) -> int {
      return cudaStreamWaitEvent(to_stream(stream), to_event(event), 0);
    },
    .wait_for_event = [](void* event) -> int { return cudaEventSynchronize(to_event(event)); },
    .release_event = [](void* event) -> int { return cudaEventDestroy(to_event(event)); },
    .between = [](float* milliseconds, void* earlier, void* later) -> int {
      return cudaEventElapsedTime(milliseconds, to_event(earlier), to_event(later));
    },
    .begin_capture = begin_capture,
    .end_capture = end_capture,
    .launch_graph = launch_graph,
    .release_graph = [](void* graph) -> int {
      return cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
    },
};

}  // namespace

const Driver* runtime() { return &kRuntime; }

}  // namespace lux::cuda
