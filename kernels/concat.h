// Joining and cutting along one dimension. Convolution needs no concat: it reads several inputs by itself.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// The tensors one after the other along `dim` (negative counts from the end). Throws Error when there is
/// none, or when they differ in dtype or in another dimension.
Tensor concat(const Tensors& tensors, int dim);

/// Elements start … start + length - 1 of dimension `dim`, copied. Throws Error when they are not all there.
Tensor narrow(const Tensor& x, int dim, int64_t start, int64_t length);

/// Pieces of the given sizes along `dim`, in order: the inverse of concat. Throws Error when they do not add
/// up.
Tensors split(const Tensor& x, const std::vector<int64_t>& sizes, int dim);

}  // namespace lux
