// What stands between tensors and the graphs and products of vendor libraries: channels side by side,
// channels that are not there, and what a library does not do to a sum.
#pragma once

#include "luxgrad/kernels/epilogue.h"
#include "luxgrad/tensor/tensor.h"

namespace lux::cuda {

/// Whether vendor kernels can read it: its bytes begin at a multiple of 16. Rows of a picture may not.
bool is_aligned(const Tensor& tensor);

/// Some of the columns of a tensor, seen as rows of `width`.
struct Columns {
  const Tensor& tensor;
  int64_t first, width;
};
/// `columns` of every row of `to`; zeros where `from` has fewer rows, or fewer columns.
void copy_columns(const Columns& from, const Columns& to, int64_t columns);

/// A tensor of four dimensions with the first and the last widened by zeros; the tensor itself where it can
/// be read as it is.
Tensor widened(const Tensor& x, int64_t first, int64_t last);

/// The inputs [N, H, W, C_i] side by side and zeros up to `channels`; one that is so already is taken as it
/// is.
Tensor gathered(const Tensors& inputs, int64_t channels);

/// What is left to do with sums.
struct Finish {
  Tensor bias{};  ///< [K], or undefined
  Activation activation = Activation::none;
  double slope = 0;
};
/// y [.., K] = activation(sums + bias), of the first K of `width` columns; `sums` may be y.
void finish_sums(const Finish& finish, const Tensor& sums, int64_t width, const Tensor& y);

}  // namespace lux::cuda
