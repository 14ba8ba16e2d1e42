#include "luxgrad/tensor/cuda_code.h"

#include <cuda_runtime_api.h>

namespace lux::cuda {
namespace {

__global__ void nothing() {}

}  // namespace

int has_code() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, nothing);
}

}  // namespace lux::cuda
