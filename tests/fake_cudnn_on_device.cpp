#include "fake_cudnn_on_device.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

#include "fake_cudnn.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/emulated_gpu.h"

namespace lux {
namespace {

bool launch(void* stream, std::function<void()> work) {
  if (stream != cuda::stream()) return false;
  emulated_gpu::run(1, 16, [work = std::move(work)] {  // one team, the least there is
    if (threadIdx.x == 0) work();
  });
  return true;
}

}  // namespace

bool use_fake_cudnn_on_device() {
  const char* const file = std::getenv("LUX_CUDNN");
  void* const library = file == nullptr ? nullptr : dlopen(file, RTLD_NOW | RTLD_LOCAL);
  void* const use = library == nullptr ? nullptr : dlsym(library, kUseFakeDevice);
  if (use == nullptr) return false;
  static constexpr FakeDevice kDevice = {.launch = launch, .holds = emulated_gpu::holds};
  reinterpret_cast<UseFakeDevice>(use)(kDevice);
  static cuda::Driver driver = *cuda::runtime();
  driver.has_libraries = true;
  cuda::set_driver(&driver);
  return true;
}

}  // namespace lux
