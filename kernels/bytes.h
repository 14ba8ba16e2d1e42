// Between the samples of image files and the numbers of networks, on the device where they are.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// value / 255 of a u8 tensor, in a floating dtype. Outside any graph. Throws Error for another dtype.
Tensor from_bytes(const Tensor& bytes, DType dtype = DType::f32);

/// floor(255·x + ½), kept within 0 … 255, as u8; a NaN becomes 0. Outside any graph.
Tensor to_bytes(const Tensor& x);

/// Pictures as files have them, u8 [N, H, W, n] with n = channels, or 2·channels where a sample has 16 bits
/// in the machine's byte order -> [N, H, W, 3] in [0, 1], in a floating dtype: gray replicated, alpha left
/// out. `channels`: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha. Outside any graph. Throws Error for
/// other shapes and dtypes.
Tensor from_samples(const Tensor& samples, int channels, DType dtype = DType::f32);

/// x [N, H, W, C] -> the samples of files, u8 [N, H, W, C·bits / 8]: floor(max·x + ½) of `bits`, 8 or 16,
/// kept within 0 … max; a NaN becomes 0. Outside any graph. Throws Error for another shape or number of bits.
Tensor to_samples(const Tensor& x, int bits);

}  // namespace lux
