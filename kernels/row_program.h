// A chain of operators that carries a picture from end to end a few rows at a time: depth first instead of
// layer by layer. Between two operators stand only the rows that the second has still to read, so memory does
// not grow with the height of the picture, and what was just computed is still in the cache when it is read.
//
// The program is not written but recorded: the network runs once on a small picture, and its operators
// describe themselves (kernels/rows.h). Every operator runs on the same kernels as ever, and bands begin at
// multiples of four rows, where the tiles of Winograd's convolution begin: the bits are those of the network.
//
// Where a network takes a mean over all pixels and goes on with it, the picture passes once for every such
// mean, as far as it takes, and once more for the result.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux {

class RowProgram {
 public:
  /// Follows `network` on a picture [1, side, side, 3] of `dtype`. The network must be the same function of
  /// its picture for every size; parameters are kept by handle.
  static RowProgram record(FunctionRef<Tensor(const Tensor&)> network, int64_t side,
                           DType dtype = DType::f32);

  /// The first operator that needs its picture as a whole, such as the batch norm of a picture by its own
  /// statistics; empty where there is none. A program with an obstacle cannot run.
  const std::string& obstacle() const { return obstacle_; }
  /// How often the picture passes: 1, and 1 for every mean over all pixels.
  int64_t passes() const;

  /// The rows of all operators together, in bytes, when a picture [1, height, width, 3] passes in bands.
  int64_t bytes(int64_t height, int64_t width, int64_t band) const;

  /// Runs on a picture [1, height, width, 3] which `source` gives, once in every pass, and whose result
  /// `sink` takes, from the top down. About `band` rows of the result are made at a time. Throws Error where
  /// there is an obstacle.
  void run(int64_t height, int64_t width, int64_t band, FunctionRef<void(Rows, const Tensor&)> source,
           FunctionRef<void(Rows, const Tensor&)> sink) const;

 private:
  friend class ProgramRecorder;
  friend class Passage;

  static constexpr int64_t kConstant = -1;
  struct Operand {
    int64_t step = kConstant;  // which made it
    Shape shape;               // of what is whole
    Tensor constant;
  };
  /// What one operator makes: rows, or, of a summary and what follows from it, something whole. The picture
  /// has no operator.
  struct Step {
    std::shared_ptr<const RowOperator> op = nullptr;
    std::shared_ptr<const RowSummary> summary = nullptr;
    std::vector<Operand> inputs = {};
    bool whole = false;
    std::vector<size_t> readers = {};  // row by row
  };
  class Run;

  bool is_whole(const Operand& operand) const {
    return operand.step == kConstant || steps_[static_cast<size_t>(operand.step)].whole;
  }

  std::vector<Step> steps_;  // the picture, then operators in the order of execution
  size_t result_ = 0;
  std::string obstacle_;
  DType dtype_ = DType::f32;
};

}  // namespace lux
