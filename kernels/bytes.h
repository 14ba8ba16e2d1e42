// Between the bytes of image files and the numbers of networks, on the device where they are.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// value / 255 of a u8 tensor, in a floating dtype. Outside any graph. Throws Error for another dtype.
Tensor from_bytes(const Tensor& bytes, DType dtype = DType::f32);

/// floor(255·x + ½), kept within 0 … 255, as u8; a NaN becomes 0. Outside any graph.
Tensor to_bytes(const Tensor& x);

}  // namespace lux
