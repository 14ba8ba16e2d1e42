#include "luxgrad/kernels/row_program.h"

#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {
namespace {

constexpr int64_t kGrid = 4;  // rows of a Winograd tile

thread_local RowRecorder* recorder = nullptr;

int64_t next_multiple(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

// Whether last bits depend on which rows are computed together.
bool makes_tiles(const RowOperator& op) {
  for (int64_t row = 0; row < kGrid; ++row) {
    const Rows y{row, row + 1}, near = op.reads(y), far = op.reads_to_the_bit(y);
    if (near.begin != far.begin || near.end != far.end) return true;
  }
  return false;
}

int64_t row_bytes(const Shape& shape, DType dtype) {
  return shape[2] * shape[3] * static_cast<int64_t>(size_of(dtype));
}

}  // namespace

RowRecorder::RowRecorder() {
  check(recorder == nullptr, "rows: expected one recorder at a time");
  recorder = this;
}
RowRecorder::~RowRecorder() { recorder = nullptr; }
RowRecorder* detail::row_recorder() { return recorder; }

// Listens to the network. Tensors are known by who owns their storage, which tells them apart when their
// bytes are gone: kept, they would be many times what the network needs.
class ProgramRecorder final : public RowRecorder, public Observer {
 public:
  ProgramRecorder(RowProgram& program, const Tensor& picture) : program_(program) {
    program.steps_.push_back({});
    know(picture, {0, {}});
  }

  void on_rows(const Tensor& y, const Tensors& inputs, std::shared_ptr<const RowOperator> op) override {
    if (!any_known(inputs) || undescribed(y, inputs)) return;  // a constant, or not to be had
    RowProgram::Step step{.op = std::move(op), .whole = true};
    for (const Tensor& input : inputs) add_operand(step, input);
    for (const RowProgram::Operand& operand : step.inputs) step.whole &= program_.is_whole(operand);
    add(y, std::move(step));
  }

  void on_statistic(const Tensor& y, const Tensors& inputs,
                    std::shared_ptr<const RowSummary> summary) override {
    if (!any_known(inputs) || undescribed(y, inputs)) return;
    RowProgram::Step step{.summary = std::move(summary), .whole = true, .statistic = true};
    for (const Tensor& input : inputs) add_operand(step, input);
    add(y, std::move(step));
  }

  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override {
    if (is_known(y) || !any_known(inputs) || undescribed(y, inputs)) return;
    know(y, {kUndescribed, name});
  }
  void on_backward(const char*, const Grads&) override {}

  void finish(const Tensor& result) {
    check(is_known(result), "rows: the network does not depend on its picture");
    const Known last = known_[result.storage()];
    program_.obstacle_ = last.obstacle;
    if (last.step == kUndescribed) return;
    program_.result_ = static_cast<size_t>(last.step);
    if (program_.steps_[program_.result_].whole) program_.obstacle_ = "the result";
    join_neighbours();
  }

 private:
  static constexpr int64_t kUndescribed = -2;
  struct Known {
    int64_t step = kUndescribed;
    std::string obstacle = {};  // the first operator on the way to it that is not described; empty: none
  };

  bool is_known(const Tensor& x) const { return x.defined() && known_.count(x.storage()) > 0; }
  bool any_known(const Tensors& inputs) const {
    return std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& x) { return is_known(x); });
  }
  void know(const Tensor& tensor, Known known) { known_[tensor.storage()] = std::move(known); }
  // Whether y is made of something undescribed, and remembers what.
  bool undescribed(const Tensor& y, const Tensors& inputs) {
    for (const Tensor& input : inputs) {
      if (!is_known(input) || known_[input.storage()].step != kUndescribed) continue;
      know(y, {kUndescribed, known_[input.storage()].obstacle});
      return true;
    }
    return false;
  }

  // Operators that know how to run as one with the only reader of theirs do so; their own steps stay behind,
  // and nobody wants them.
  void join_neighbours() {
    std::vector<RowProgram::Step>& steps = program_.steps_;
    std::vector<int64_t> times_read(steps.size());
    for (const RowProgram::Step& step : steps) {
      for (const RowProgram::Operand& operand : step.inputs)
        if (operand.step != RowProgram::kConstant) ++times_read[static_cast<size_t>(operand.step)];
    }
    for (size_t i = 1; i < program_.result_; ++i) {
      if (steps[i].op == nullptr || times_read[i] != 1 || steps[i].readers.size() != 1) continue;
      const size_t reader = steps[i].readers[0];
      if (steps[reader].inputs.size() != 1) continue;
      auto both = steps[i].op->then(*steps[reader].op);
      if (both == nullptr) continue;
      steps[reader].op = std::move(both);
      steps[reader].inputs = steps[i].inputs;
      for (const RowProgram::Operand& operand : steps[i].inputs) {
        if (program_.is_whole(operand)) continue;
        std::vector<size_t>& readers = steps[static_cast<size_t>(operand.step)].readers;
        std::replace(readers.begin(), readers.end(), i, reader);
      }
      steps[i].readers.clear();
    }
  }

  void add_operand(RowProgram::Step& step, const Tensor& input) {
    if (is_known(input))
      step.inputs.push_back({known_[input.storage()].step, input.shape(), {}});
    else
      step.inputs.push_back({RowProgram::kConstant, input.shape(), input.detach()});
  }
  void add(const Tensor& y, RowProgram::Step step) {
    const size_t index = program_.steps_.size();
    for (const RowProgram::Operand& operand : step.inputs) {
      if (!step.whole && !program_.is_whole(operand))
        program_.steps_[static_cast<size_t>(operand.step)].readers.push_back(index);
    }
    know(y, {static_cast<int64_t>(index), {}});
    program_.steps_.push_back(std::move(step));
  }

  RowProgram& program_;
  std::map<std::weak_ptr<Storage>, Known, std::owner_less<>> known_;
};

// One way of a picture from the top down to one step, its goal: how far every step before it has come.
class Passage {
 public:
  Passage(const RowProgram& program, size_t goal, int64_t height, int64_t width)
      : program_(program), goal_(goal), shapes_(program.steps_.size()), wanted_(program.steps_.size()) {
    done_.resize(shapes_.size());
    most_.resize(shapes_.size());
    std::vector<Shape> inputs;
    for (size_t i = 0; i < shapes_.size(); ++i) {
      const RowProgram::Step& step = program.steps_[i];
      if (step.whole) continue;
      shapes_[i] = step.op == nullptr ? Shape{1, height, width, 3} : step.op->shape(inputs_of(step, inputs));
    }
    wanted_[goal] = true;
    for (size_t i = goal + 1; i-- > 0;) {
      if (!wanted_[i]) continue;
      for (const RowProgram::Operand& input : program.steps_[i].inputs) {
        if (!program.is_whole(input)) wanted_[static_cast<size_t>(input.step)] = true;
      }
      const RowOperator* const op = program.steps_[i].op.get();
      if (op != nullptr && makes_tiles(*op)) grid_ = kGrid;
    }
  }

  /// Back to the top; what each step held at a time stays known.
  void restart() {
    std::fill(done_.begin(), done_.end(), 0);
    taken_ = 0;
  }

  bool wants(size_t step) const { return wanted_[step]; }
  const Shape& shape(size_t step) const { return shapes_[step]; }
  int64_t height(size_t step) const { return shapes_[step][1]; }
  /// Room for the rows of a step: the most that it held at a time, and where many wait for a late reader as
  /// many more, so that each is moved up once at most.
  int64_t room(size_t step) const {
    const int64_t waiting = std::max<int64_t>(0, most_[step] - 2 * piece(step));
    return std::min(most_[step] + waiting, height(step));
  }

  /// That a step takes besides its inputs and so many rows of its own.
  int64_t working_bytes(size_t i, int64_t rows) const {
    const RowProgram::Step& step = program_.steps_[i];
    std::vector<Shape> inputs;
    return step.op == nullptr ? 0 : step.op->working_bytes(inputs_of(step, inputs), rows);
  }

  /// The first row of a step that somebody has still to read.
  int64_t oldest(size_t step) const {
    int64_t row = step == goal_ ? taken_ : std::numeric_limits<int64_t>::max();
    for (const size_t reader : program_.steps_[step].readers) {
      if (wanted_[reader] && done_[reader] < height(reader))
        row = std::min(row, program_.steps_[reader].op->reads({done_[reader], done_[reader] + 1}).begin);
    }
    return std::clamp<int64_t>(row, 0, done_[step]);
  }

  /// Goes to the end: calls compute(step, rows) for every piece of the way, the first first, and take(rows)
  /// whenever some of the goal are there.
  template <class Compute, class Take>
  void go(int64_t band, const Compute& compute, const Take& take) {
    band_ = next_multiple(band, grid_);
    while (taken_ < height(goal_)) {
      advance(goal_, taken_ + piece(goal_), compute);
      if (done_[goal_] > taken_) take(Rows{taken_, done_[goal_]});
      taken_ = done_[goal_];
    }
  }

 private:
  // In `inputs`, whose memory is used again.
  const std::vector<Shape>& inputs_of(const RowProgram::Step& step, std::vector<Shape>& inputs) const {
    inputs.clear();
    for (const RowProgram::Operand& input : step.inputs)
      inputs.push_back(program_.is_whole(input) ? input.shape : shapes_[static_cast<size_t>(input.step)]);
    return inputs;
  }

  // Rows that are computed at a time: where they are shorter than the picture's, as many pixels as a band of
  // it has, or enough to make reading all weights worth while.
  int64_t piece(size_t step) const {
    constexpr int64_t kEnough = 16384;
    const int64_t width = shapes_[step][2];
    return std::max(band_, next_multiple(std::min(band_ * shapes_[0][2], kEnough) / width, grid_));
  }

  // Lets `step` come as far as row `end`, a band at a time, and those before it only as far as each takes: so
  // a map in full size does not wait for many rows of one that is a sixteenth of it. A rest of few rows goes
  // with the band before it, for each piece asks for a rest of its own from the steps before.
  template <class Compute>
  void advance(size_t step, int64_t end, const Compute& compute) {
    end = std::min(next_multiple(end, grid_), height(step));
    const RowProgram::Step& made = program_.steps_[step];
    while (done_[step] < end) {
      const int64_t some = piece(step);
      const Rows rows{done_[step], end <= done_[step] + some + band_ / 2 ? end : done_[step] + some};
      if (made.op != nullptr) {
        const int64_t read = made.op->reads(rows).end;
        for (const RowProgram::Operand& input : made.inputs) {
          if (!program_.is_whole(input)) advance(static_cast<size_t>(input.step), read, compute);
        }
      }
      most_[step] = std::max(most_[step], rows.end - oldest(step));
      compute(step, rows);
      done_[step] = rows.end;
    }
  }

  const RowProgram& program_;
  size_t goal_;
  std::vector<Shape> shapes_;
  std::vector<bool> wanted_;
  std::vector<int64_t> done_, most_;
  int64_t taken_ = 0, band_ = 0;
  int64_t grid_ = 1;  // bands begin at multiples of it
};

namespace {

// The rows of one step that are still to be read, in one piece of memory.
class Window {
 public:
  explicit Window(Tensor buffer = {}) : buffer_(std::move(buffer)) {}

  /// Room for `rows`, which follow those that are there; of these, only those from `oldest` on are kept.
  Tensor append(Rows rows, int64_t oldest) {
    if (rows.end - first_ > buffer_.size(1)) {
      move_up(oldest - first_, rows.begin - oldest);
      first_ = oldest;
    }
    return at(rows);
  }
  /// The rows, which must be there.
  Tensor at(Rows rows) const {
    const Shape& shape = buffer_.shape();
    const int64_t bytes = row_bytes(shape, buffer_.dtype());
    return {buffer_.storage(), shape.with(1, rows.count()), buffer_.dtype(),
            buffer_.offset() + (rows.begin - first_) * bytes};
  }

 private:
  // Rows from `distance` on to the front: so many at a time that none is written before it was read.
  void move_up(int64_t distance, int64_t count) const {
    const int64_t bytes = row_bytes(buffer_.shape(), buffer_.dtype());
    auto* const base = static_cast<char*>(buffer_.raw());
    for (int64_t done = 0; done < count; done += distance) {
      const int64_t some = std::min(distance, count - done), to = first_ + done, from = to + distance;
      if (buffer_.device() != kCpu) {
        copy_(at({to, to + some}), at({from, from + some}));
        continue;
      }
      run_chunks(some, [&](int64_t row) {
        char* const target = base + (done + row) * bytes;
        std::memcpy(target, target + distance * bytes, static_cast<size_t>(bytes));
      });
    }
  }

  Tensor buffer_;
  int64_t first_ = 0;
};

// Of all steps, in one block: a band goes through every window, which together have more pages than the
// processor finds at once, unless they are the huge ones that large blocks have.
std::vector<Window> windows_for(const Passage& plan, size_t steps, TensorOptions options) {
  constexpr int64_t kPage = 4096;
  std::vector<int64_t> begins{0};
  for (size_t i = 0; i < steps; ++i) {
    const int64_t bytes = plan.wants(i) ? plan.room(i) * row_bytes(plan.shape(i), options.dtype) : 0;
    begins.push_back(begins.back() + next_multiple(bytes, kPage));
  }
  const auto block = std::make_shared<Storage>(begins.back(), options.device);
  std::vector<Window> windows(steps);
  for (size_t i = 0; i < steps; ++i) {
    if (!plan.wants(i)) continue;
    windows[i] = Window({block, plan.shape(i).with(1, plan.room(i)), options.dtype, begins[i]});
  }
  return windows;
}

void nowhere(size_t, Rows) {}
void nobody(Rows) {}

}  // namespace

// The passes of one picture.
class RowProgram::Run {
 public:
  Run(const RowProgram& program, int64_t height, int64_t width, int64_t band,
      FunctionRef<void(Rows, const Tensor&)> source)
      : program_(program),
        height_(height),
        width_(width),
        band_(band),
        source_(source),
        results_(program.steps_.size()) {}

  /// What is whole, in the order of execution: each statistic in a pass of its own.
  Tensors summarize() {
    Tensors statistics;
    compute_whole([&](const Step& step) {
      const auto goal = static_cast<size_t>(step.inputs[0].step);
      std::unique_ptr<RowTally> tally;
      pass(goal, [&](Rows rows, const Tensor& x, const Shape& shape) {
        if (tally == nullptr) tally = step.summary->begin(shape, x.dtype());
        tally->add({x, rows, shape[1]});
      });
      statistics.push_back(tally->result());
      return statistics.back();
    });
    return statistics;
  }
  /// The same with statistics that are known.
  void set(const Tensors& statistics) {
    size_t next = 0;
    compute_whole([&](const Step&) { return statistics[next++]; });
  }

  /// The result for the whole picture at once; what nobody reads any more goes.
  Tensor at_once(const Tensor& picture) {
    const std::vector<size_t> last_reader = program_.last_readers();
    const Passage plan(program_, program_.result_, height_, width_);
    results_[0] = picture;
    for (size_t i = 1; i <= program_.result_; ++i) {
      const Step& step = program_.steps_[i];
      if (plan.wants(i) && !step.whole) results_[i] = step.op->whole(operands(step));
      for (const Operand& input : step.inputs) {
        const auto from = static_cast<size_t>(std::max<int64_t>(0, input.step));
        if (input.step != kConstant && last_reader[from] == i && from != program_.result_)
          results_[from] = {};
      }
    }
    return results_[program_.result_];
  }

  template <class Take>
  void pass(size_t goal, const Take& take) {
    Passage passage(program_, goal, height_, width_);
    passage.go(band_, nowhere, nobody);  // without a picture, for the sizes
    std::vector<Window> windows = windows_for(passage, results_.size(), program_.options_);
    passage.restart();
    Bands inputs;
    const auto compute = [&](size_t index, Rows rows) {
      const Step& step = program_.steps_[index];
      const Tensor y = windows[index].append(rows, passage.oldest(index));
      if (step.op == nullptr) return source_(rows, y);
      const Rows wanted = step.op->reads(rows);
      inputs.tensors.clear();
      for (const Operand& input : step.inputs) {
        if (program_.is_whole(input)) {
          inputs.tensors.push_back(whole(input));
          continue;
        }
        const auto from = static_cast<size_t>(input.step);
        const int64_t tall = inputs.height = passage.height(from);
        inputs.rows = {std::clamp<int64_t>(wanted.begin, 0, tall), std::clamp<int64_t>(wanted.end, 0, tall)};
        inputs.tensors.push_back(windows[from].at(inputs.rows));
      }
      step.op->run(inputs, {y, rows, passage.height(index)});
    };
    passage.go(band_, compute, [&](Rows rows) { take(rows, windows[goal].at(rows), passage.shape(goal)); });
  }

 private:
  template <class Statistic>
  void compute_whole(const Statistic& statistic) {
    for (size_t i = 0; i < results_.size(); ++i) {
      const Step& step = program_.steps_[i];
      if (!step.whole) continue;
      if (step.statistic) {
        results_[i] = statistic(step);
        continue;
      }
      results_[i] = step.op->whole(operands(step));
    }
  }
  Tensors operands(const Step& step) const {
    Tensors inputs;
    for (const Operand& input : step.inputs) inputs.push_back(whole(input));
    return inputs;
  }
  Tensor whole(const Operand& operand) const {
    if (operand.step == kConstant) return operand.constant;
    const auto step = static_cast<size_t>(operand.step);
    return program_.steps_[step].whole ? results_[step].with_shape(operand.shape) : results_[step];
  }

  const RowProgram& program_;
  int64_t height_, width_, band_;
  FunctionRef<void(Rows, const Tensor&)> source_;
  Tensors results_;  // of the steps that are whole
};

RowProgram RowProgram::record(FunctionRef<Tensor(const Tensor&)> network, int64_t side,
                              TensorOptions options) {
  RowProgram program;
  program.options_ = options;
  const NoGrad no_grad;
  const Tensor picture = full({1, side, side, 3}, 0.5, options);
  ProgramRecorder listener(program, picture);
  listener.finish(network(picture));
  return program;
}

namespace {

// Keeps the statistics that a run takes.
class StatisticsRecorder final : public RowRecorder {
 public:
  void on_rows(const Tensor&, const Tensors&, std::shared_ptr<const RowOperator>) override {}
  void on_statistic(const Tensor& y, const Tensors&, std::shared_ptr<const RowSummary>) override {
    statistics.push_back(y);
  }
  Tensors statistics;
};

}  // namespace

Tensors RowProgram::statistics_of(FunctionRef<Tensor(const Tensor&)> network, const Tensor& picture) {
  const NoGrad no_grad;
  StatisticsRecorder listener;
  network(picture);
  return listener.statistics;
}

int64_t RowProgram::statistic_count() const {
  return std::count_if(steps_.begin(), steps_.end(), [](const Step& step) { return step.statistic; });
}

bool RowProgram::makes_statistics() const {
  return std::all_of(steps_.begin(), steps_.end(),
                     [](const Step& step) { return !step.statistic || step.summary != nullptr; });
}

bool RowProgram::same_everywhere() const {
  return std::all_of(steps_.begin(), steps_.end(), [](const Step& step) {
    return step.whole || step.op == nullptr || step.op->same_everywhere();
  });
}

int64_t RowProgram::grid() const {
  constexpr int64_t kSide = 1024;
  int64_t coarsest = kSide;
  const Passage passage(*this, result_, kSide, kSide);
  for (size_t i = 0; i < steps_.size(); ++i)
    if (passage.wants(i)) coarsest = std::min(coarsest, passage.height(i));
  return kGrid * (kSide / coarsest);
}

int64_t RowProgram::reach(Rows (RowOperator::*reads)(Rows) const) const {
  constexpr int64_t kFar = int64_t{1} << 20,
                    kPeriod = 64;  // rows from where pictures begin; every coarser grid
  int64_t halo = 0;
  for (int64_t row = kFar; row < kFar + kPeriod; ++row) {
    std::vector<Rows> seen(steps_.size());  // what of every step the row is made of
    seen[result_] = {row, row + 1};
    for (size_t i = result_ + 1; i-- > 0;) {
      if (seen[i].count() == 0 || steps_[i].op == nullptr) continue;
      const Rows read = (steps_[i].op.get()->*reads)(seen[i]);
      for (const Operand& input : steps_[i].inputs) {
        if (is_whole(input)) continue;
        Rows& all = seen[static_cast<size_t>(input.step)];
        all = all.count() == 0 ? read : Rows{std::min(all.begin, read.begin), std::max(all.end, read.end)};
      }
    }
    halo = std::max({halo, row - seen[0].begin, seen[0].end - 1 - row});
  }
  return halo;
}

// Where the passes end: at the inputs of statistics, and at the result.
template <class F>
void RowProgram::for_each_goal(const F& f) const {
  for (const Step& step : steps_) {
    if (!step.statistic) continue;
    for (const Operand& input : step.inputs) f(static_cast<size_t>(input.step));
  }
  f(result_);
}

int64_t RowProgram::pass_bytes(size_t goal, int64_t height, int64_t width, int64_t band) const {
  Passage passage(*this, goal, height, width);
  passage.go(band, nowhere, nobody);
  int64_t bytes = 0;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (passage.wants(i)) bytes += passage.room(i) * row_bytes(passage.shape(i), options_.dtype);
  }
  return bytes;
}

int64_t RowProgram::bytes(int64_t height, int64_t width, int64_t band) const {
  return pass_bytes(result_, height, width, band);
}

// A few rows may take more than many: Winograd's convolution cuts few tiles in another way.
int64_t RowProgram::working_bytes(int64_t height, int64_t width, int64_t band) const {
  int64_t most = 0;
  for_each_goal([&](size_t goal) {
    Passage passage(*this, goal, height, width);
    std::vector<int64_t> last(steps_.size());  // rows of the piece before, which mostly has as many
    const auto compute = [&](size_t i, Rows rows) {
      if (std::exchange(last[i], rows.count()) == rows.count() || steps_[i].op == nullptr) return;
      const int64_t copied =
          steps_[i].op->copies() ? rows.count() * row_bytes(passage.shape(i), options_.dtype) : 0;
      most = std::max(most, passage.working_bytes(i, rows.count()) + copied);
    };
    passage.go(band, compute, nobody);
  });
  return most;
}

std::vector<size_t> RowProgram::last_readers() const {
  std::vector<size_t> last(steps_.size());
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (const Operand& input : steps_[i].inputs)
      if (input.step != kConstant) last[static_cast<size_t>(input.step)] = i;
  }
  return last;
}

int64_t RowProgram::at_once_bytes(int64_t height, int64_t width) const {
  const Passage passage(*this, result_, height, width);
  const std::vector<size_t> last_reader = last_readers();
  std::vector<int64_t> held(steps_.size());
  int64_t live = 0, most = 0;
  for (size_t i = 0; i <= result_; ++i) {
    if (!passage.wants(i) || steps_[i].whole) continue;
    held[i] = passage.height(i) * row_bytes(passage.shape(i), options_.dtype);
    live += held[i];
    most = std::max(most, live + passage.working_bytes(i, passage.height(i)));
    for (const Operand& input : steps_[i].inputs) {
      if (input.step == kConstant || last_reader[static_cast<size_t>(input.step)] != i) continue;
      live -= std::exchange(held[static_cast<size_t>(input.step)], 0);
    }
  }
  return most;
}

int64_t RowProgram::statistics_bytes(int64_t height, int64_t width, int64_t band) const {
  int64_t most = 0;
  for_each_goal([&](size_t goal) {
    if (goal != result_) most = std::max(most, pass_bytes(goal, height, width, band));
  });
  return most;
}

Tensors RowProgram::statistics(int64_t height, int64_t width, int64_t band,
                               FunctionRef<void(Rows, const Tensor&)> source) const {
  check(makes_statistics(), "rows: a statistic of the network needs its picture as a whole");
  check_run(height, width, band);
  const NoGrad no_grad;
  return Run(*this, height, width, band, source).summarize();
}

void RowProgram::run(int64_t height, int64_t width, int64_t band, const Tensors& statistics,
                     FunctionRef<void(Rows, const Tensor&)> source,
                     FunctionRef<void(Rows, const Tensor&)> sink) const {
  check_run(height, width, band);
  check_statistics(statistics);
  const NoGrad no_grad;
  Run run(*this, height, width, band, source);
  run.set(statistics);
  run.pass(result_, [&](Rows rows, const Tensor& y, const Shape&) { sink(rows, y); });
}

Tensor RowProgram::run_at_once(const Tensor& picture, const Tensors& statistics) const {
  check_run(picture.size(1), picture.size(2), 1);
  check_statistics(statistics);
  const NoGrad no_grad;
  Run run(*this, picture.size(1), picture.size(2), 1, [](Rows, const Tensor&) {});
  run.set(statistics);
  return run.at_once(picture);
}

void RowProgram::check_statistics(const Tensors& statistics) const {
  check(static_cast<int64_t>(statistics.size()) == statistic_count(), "rows: expected ", statistic_count(),
        " statistics, got ", statistics.size());
}

void RowProgram::check_run(int64_t height, int64_t width, int64_t band) const {
  check(obstacle_.empty(), "rows: ", obstacle_, " needs its picture as a whole");
  check(height > 0 && width > 0 && band > 0, "rows: expected a picture and bands with rows, got ", height,
        "x", width, " and ", band);
}

}  // namespace lux
