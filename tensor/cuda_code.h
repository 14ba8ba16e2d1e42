// Whether the kernels of this program can run on the device at hand.
#pragma once

namespace lux::cuda {

/// The runtime's number of an error where they were compiled for other devices only; 0 is none.
int has_code();

}  // namespace lux::cuda
