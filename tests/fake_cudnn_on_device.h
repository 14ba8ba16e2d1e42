// The libraries of fake_cudnn.cpp on the device that the CPU plays, as NVIDIA's on a GPU.
#pragma once

namespace lux {

/// Where LUX_CUDNN names such a library, its work runs on that device from now on, and the device says that
/// libraries reach it. Returns whether it does.
bool use_fake_cudnn_on_device();

}  // namespace lux
