// A chain of operators that carries a picture from end to end a few rows at a time: depth first instead of
// layer by layer. Between two operators stand only the rows that the second has still to read, so memory does
// not grow with the height of the picture, and what was just computed is still in the cache when it is read.
//
// The program is not written but recorded: the network runs once on a small picture, and its operators
// describe themselves (kernels/rows.h). Every operator runs on the same kernels as ever, and where there are
// tiles of Winograd's convolution, bands begin where these do, at multiples of four rows: the bits are those
// of the network.
//
// Where a network takes a statistic of the whole picture, such as a mean over all pixels, and goes on with
// it, the picture passes once for every one, as far as it takes, and once more for the result; or the
// statistics are given.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux {

class RowProgram {
 public:
  /// Follows `network` on a picture [1, side, side, 3] of these options, where and in which dtype it will
  /// run. The network must be the same function of its picture for every size; parameters are kept by handle.
  static RowProgram record(FunctionRef<Tensor(const Tensor&)> network, int64_t side,
                           TensorOptions options = {});

  /// What the statistics of `picture` are in a run of `network`, in the order of execution.
  static Tensors statistics_of(FunctionRef<Tensor(const Tensor&)> network, const Tensor& picture);

  /// The first operator that needs its picture as a whole and is no statistic; empty where there is none. A
  /// program with an obstacle cannot run.
  const std::string& obstacle() const { return obstacle_; }
  /// How many statistics of whole pictures the network takes.
  int64_t statistic_count() const;
  /// Whether a passage of the picture can make every one of them.
  bool makes_statistics() const;
  /// Whether columns can be computed by themselves: no operator asks where the picture begins and ends.
  bool same_everywhere() const;
  /// Columns that can be computed by themselves begin at multiples of it: where every operator's rows and the
  /// tiles of Winograd's convolution begin.
  int64_t grid() const;
  /// How far from a pixel of the result the pixels are that it is made of, statistics aside; and that its
  /// last bits depend on, where the program runs on a part of the picture that begins on its grid.
  int64_t halo() const { return reach(&RowOperator::reads); }
  int64_t halo_to_the_bit() const { return reach(&RowOperator::reads_to_the_bit); }

  /// The rows of all operators together, in bytes, when a picture [1, height, width, 3] passes in bands: for
  /// its result, and for its statistics.
  int64_t bytes(int64_t height, int64_t width, int64_t band) const;
  int64_t statistics_bytes(int64_t height, int64_t width, int64_t band) const;
  /// The most that an operator takes beside these rows in any of the passes.
  int64_t working_bytes(int64_t height, int64_t width, int64_t band) const;
  /// All that `run_at_once` holds at a time, the picture among it.
  int64_t at_once_bytes(int64_t height, int64_t width) const;

  /// The statistics of a picture [1, height, width, 3] which `source` gives, once in every pass, to the bit.
  Tensors statistics(int64_t height, int64_t width, int64_t band,
                     FunctionRef<void(Rows, const Tensor&)> source) const;

  /// Runs on a picture [1, height, width, 3] which `source` gives, and whose result `sink` takes, from the
  /// top down, with as many statistics as there are. About `band` rows of the result are made at a time.
  /// Throws Error where there is an obstacle.
  void run(int64_t height, int64_t width, int64_t band, const Tensors& statistics,
           FunctionRef<void(Rows, const Tensor&)> source, FunctionRef<void(Rows, const Tensor&)> sink) const;
  /// The result for a picture [1, H, W, 3], operator by operator; for tiles that are small enough.
  Tensor run_at_once(const Tensor& picture, const Tensors& statistics) const;

 private:
  friend class ProgramRecorder;
  friend class Passage;

  static constexpr int64_t kConstant = -1;
  struct Operand {
    int64_t step = kConstant;  // which made it
    Shape shape;               // of what is whole
    Tensor constant;
  };
  /// What one operator makes: rows, or, of a statistic and what follows from it, something whole. The picture
  /// has no operator.
  struct Step {
    std::shared_ptr<const RowOperator> op = nullptr;
    std::shared_ptr<const RowSummary> summary = nullptr;  // of a statistic, where it has one
    std::vector<Operand> inputs = {};
    bool whole = false;
    bool statistic = false;
    std::vector<size_t> readers = {};  // row by row
  };
  class Run;

  bool is_whole(const Operand& operand) const {
    return operand.step == kConstant || steps_[static_cast<size_t>(operand.step)].whole;
  }

  template <class F>
  void for_each_goal(const F& f) const;
  int64_t reach(Rows (RowOperator::*reads)(Rows) const) const;
  /// Of each step the last that reads it; 0 where none does.
  std::vector<size_t> last_readers() const;
  int64_t pass_bytes(size_t goal, int64_t height, int64_t width, int64_t band) const;
  void check_run(int64_t height, int64_t width, int64_t band) const;
  void check_statistics(const Tensors& statistics) const;

  std::vector<Step> steps_;  // the picture, then operators in the order of execution
  size_t result_ = 0;
  std::string obstacle_;
  TensorOptions options_;
};

}  // namespace lux
