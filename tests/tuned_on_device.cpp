// Linked into a second copy of the tool: the device that the CPU plays has the tuned kernels in its slots, as
// a GPU has, and a cuDNN where LUX_CUDNN names one that can work there. Else nothing runs them together with
// graphs, bands and the precisions of networks.
#include "cuda_emulator.h"
#include "fake_cudnn_on_device.h"
#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/slots.h"

namespace lux {
namespace {

[[maybe_unused]] const bool filled = [] {
  emulator::set_on_device(true);
  cuda::fill(slots(), Device::Type::cuda);
  cuda::add_depthwise(conv2d_kernels(), Device::Type::cuda);
  use_fake_cudnn_on_device();
  return true;
}();

}  // namespace
}  // namespace lux
