// cuDNN and cuBLAS as the kernels of conv2d on a CUDA device, and with it of conv_transpose2d and linear.
// Before `start_vendor_libraries` the slots take nothing; what the libraries do not run is left to the plain
// text.
#pragma once

#include <string>

#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/cuda/convolver.h"

namespace lux::cuda {

/// The one stream that everything of a device runs on.
struct DeviceStream {
  void* (*stream)() = nullptr;      ///< a cudaStream_t
  void (*synchronize)() = nullptr;  ///< waits until it is empty
};

/// Opens the libraries and makes their handles for the current device. Throws DeviceUnavailable where a
/// library is missing or too old, and Error where there is no device; then nothing is started. Again: from
/// the beginning.
void start_vendor_libraries(const DeviceStream& device);
/// Gives the handles back, and before that all graphs, which launch what belongs to them. The libraries stay
/// open.
void stop_vendor_libraries();
bool vendor_libraries_started();

/// Adds the slots; they take problems of f32, bf16 and f16.
void add_vendor(KernelTable<Conv2dKernels>& table, Device::Type type = Device::Type::cuda);

/// `cuDNN 9.19.0, cuBLAS 13.4.1`; empty before the start.
std::string vendor_versions();
/// What cuDNN writes of the device, a JSON text; empty before the start.
std::string vendor_device();

/// Of the running libraries, as the members of Convolver. Throw Error before the start.
ConvolutionSettings convolution_settings();
void set_convolution_settings(const ConvolutionSettings& settings);
PlanBook convolution_plans();
void set_convolution_plans(const PlanBook& book);

/// The hash of the plans that ran so far, for checkpoints: what decides the last bits of a training on a
/// device. Empty where none ran.
std::string convolution_plans_hash();

}  // namespace lux::cuda
