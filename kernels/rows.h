// How operators run on bands of rows, so that a chain of them can carry a picture from end to end a few rows
// at a time (kernels/row_program.h). An operator that can do so says, beside its forward, which rows of its
// inputs a row of the result is made of, and how it makes them. A statistic of the whole picture, such as a
// mean over all pixels, says how it takes up rows one after the other, or just that it is one. An operator
// that says nothing needs its input as a whole.
//
// Descriptions are asked for only while a RowRecorder listens, and nobody pays for them otherwise.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "luxgrad/tensor/raw.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Rows [begin, end) of a picture.
struct Rows {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};

/// Some rows of a picture [1, height, W, C] that need not exist as a whole.
struct Band {
  Tensor tensor;  ///< [1, rows.count(), W, C]
  Rows rows;
  int64_t height = 0;
};

/// The inputs of an operator: of pictures the same rows, and the rest whole.
struct Bands {
  Tensors tensors;
  Rows rows;
  int64_t height = 0;  ///< of the pictures
};

/// One executed operator, seen row by row. Inputs that are the same for every row, such as weights and what
/// a mean over all pixels leads to, are given whole, and `reads` is not asked about them.
struct RowOperator {
  virtual ~RowOperator() = default;
  /// The shape of the result, for inputs of these shapes.
  virtual Shape shape(const std::vector<Shape>& inputs) const = 0;
  /// The rows of every picture among the inputs that rows `y` of the result are made of; they may reach
  /// beyond its ends, where they are not given.
  virtual Rows reads(Rows y) const = 0;
  /// The same, with those on which the last bits depend besides: Winograd's convolution makes tiles of four
  /// rows, and rounds each of them together.
  virtual Rows reads_to_the_bit(Rows y) const { return reads(y); }
  /// Computes the rows `y.rows` of the result into `y.tensor`, from exactly the rows that `reads` names.
  virtual void run(const Bands& inputs, const Band& y) const = 0;
  /// The result for inputs that are all given whole.
  virtual Tensor whole(const Tensors& inputs) const = 0;
  /// Bytes that the operator takes besides inputs of these shapes and so many rows of its result: weights in
  /// the form of its kernels, and what these need for their tasks at a time.
  virtual int64_t working_bytes(const std::vector<Shape>& inputs, int64_t rows) const {
    (void)inputs, (void)rows;
    return 0;
  }
  /// Whether `run` makes its rows in memory of their own and copies them.
  virtual bool copies() const { return false; }
  /// One operator that does this and then `next`, the only one that reads it, to the same bits and without
  /// keeping the rows in between; null where there is none.
  virtual std::shared_ptr<const RowOperator> then(const RowOperator& next) const {
    (void)next;
    return nullptr;
  }
  /// Whether columns are treated alike wherever the picture begins and ends, so that some of them can be
  /// computed by themselves.
  virtual bool same_everywhere() const { return true; }
};

/// A summary of a picture on its way from the top down.
struct RowTally {
  virtual ~RowTally() = default;
  virtual void add(const Band& rows) = 0;
  /// What the operator makes of the whole picture, to the bit.
  virtual Tensor result() const = 0;
};

/// An operator that makes a summary of its one input [1, H, W, C].
struct RowSummary {
  virtual ~RowSummary() = default;
  virtual std::unique_ptr<RowTally> begin(const Shape& input, DType dtype) const = 0;
};

/// Listens to the operators of this thread while it lives. Recorders do not nest.
class RowRecorder {
 public:
  RowRecorder();
  virtual ~RowRecorder();
  RowRecorder(const RowRecorder&) = delete;
  RowRecorder& operator=(const RowRecorder&) = delete;

  /// Operators are described in the order of execution; what an operator is made of inside comes first.
  virtual void on_rows(const Tensor& y, const Tensors& inputs, std::shared_ptr<const RowOperator> op) = 0;
  /// `y` is a statistic of whole pictures; `summary`, which may be null, makes it of the only input.
  virtual void on_statistic(const Tensor& y, const Tensors& inputs,
                            std::shared_ptr<const RowSummary> summary) = 0;
};

namespace detail {
RowRecorder* row_recorder();

template <class F>
struct PointwiseRows final : RowOperator {
  PointwiseRows(F f, int64_t channels) : f(std::move(f)), channels(channels) {}
  Shape shape(const std::vector<Shape>& inputs) const override { return inputs.back().with(3, channels); }
  Rows reads(Rows y) const override { return y; }
  void run(const Bands& inputs, const Band& y) const override { copy_(y.tensor, f(inputs.tensors)); }
  Tensor whole(const Tensors& inputs) const override { return f(inputs); }
  bool copies() const override { return true; }
  F f;
  int64_t channels;
};
}  // namespace detail

/// Describes the operator that made `y` of `inputs`, with `op`, a RowOperator.
template <class Op>
void describe_rows(const Tensor& y, const Tensors& inputs, Op op) {
  if (RowRecorder* const recorder = detail::row_recorder())
    recorder->on_rows(y, inputs, std::make_shared<const Op>(std::move(op)));
}

/// Describes an operator that makes each row of its result of the same row of its inputs: `f`, called with
/// the inputs, is the operator itself. The last of the inputs has the height and width of the result.
template <class F>
void describe_pointwise(const Tensor& y, const Tensors& inputs, F f) {
  if (RowRecorder* const recorder = detail::row_recorder())
    recorder->on_rows(y, inputs,
                      std::make_shared<const detail::PointwiseRows<F>>(
                          std::move(f), y.shape().rank() == 4 ? y.size(3) : 0));
}

/// Describes the operator that made the summary `y` of the picture `x`, with `summary`, a RowSummary.
template <class Summary>
void describe_summary(const Tensor& y, const Tensor& x, Summary summary) {
  if (RowRecorder* const recorder = detail::row_recorder())
    recorder->on_statistic(y, {x}, std::make_shared<const Summary>(std::move(summary)));
}

/// Says that `y` is a statistic of the pictures `inputs` as wholes, such as a mean over all pixels, of a
/// shape that does not depend on their size.
inline void describe_statistic(const Tensor& y, const Tensors& inputs) {
  if (RowRecorder* const recorder = detail::row_recorder()) recorder->on_statistic(y, inputs, nullptr);
}

}  // namespace lux
