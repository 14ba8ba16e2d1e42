#include "luxgrad/kernels/row_program.h"

#include <cstring>
#include <limits>
#include <map>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"

namespace lux {
namespace {

constexpr int64_t kGrid = 4;  // rows of a Winograd tile

thread_local RowRecorder* recorder = nullptr;

int64_t round_up(int64_t rows) { return (rows + kGrid - 1) / kGrid * kGrid; }

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

// Listens to the network. Tensors are known by their storage, and kept, so that an address means one tensor.
class ProgramRecorder final : public RowRecorder, public Observer {
 public:
  ProgramRecorder(RowProgram& program, const Tensor& picture) : program_(program) {
    program.steps_.push_back({});
    know(picture, 0);
  }

  void on_rows(const Tensor& y, const Tensors& inputs, std::shared_ptr<const RowOperator> op) override {
    if (!any_known(inputs)) return;  // a constant
    RowProgram::Step step{.op = std::move(op), .whole = true};
    for (const Tensor& input : inputs) add_operand(step, input);
    for (const RowProgram::Operand& operand : step.inputs) step.whole &= program_.is_whole(operand);
    add(y, std::move(step));
  }

  void on_summary(const Tensor& y, const Tensor& x, std::shared_ptr<const RowSummary> summary) override {
    if (!any_known({x})) return;
    RowProgram::Step step{.summary = std::move(summary), .whole = true};
    add_operand(step, x);
    add(y, std::move(step));
  }

  void on_forward(const char* name, const Tensor& y, const Tensors& inputs) override {
    if (is_known(y) || !any_known(inputs)) return;
    know(y, kUndescribed);
    undescribed_.emplace_back(y.storage().get(), name);
  }
  void on_backward(const char*, const Grads&) override {}

  void finish(const Tensor& result) {
    if (!undescribed_.empty()) {
      program_.obstacle_ = undescribed_.front().second;
      return;
    }
    check(is_known(result), "rows: the network does not depend on its picture");
    program_.result_ = static_cast<size_t>(known_[result.storage().get()].first);
    if (program_.steps_[program_.result_].whole) program_.obstacle_ = "the result";
  }

 private:
  static constexpr int64_t kUndescribed = 0;

  bool is_known(const Tensor& x) const { return x.defined() && known_.count(x.storage().get()) > 0; }
  bool any_known(const Tensors& inputs) const {
    return std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& x) { return is_known(x); });
  }
  void know(const Tensor& tensor, int64_t step) { known_[tensor.storage().get()] = {step, tensor.detach()}; }

  void add_operand(RowProgram::Step& step, const Tensor& input) {
    if (is_known(input))
      step.inputs.push_back({known_[input.storage().get()].first, input.shape(), {}});
    else
      step.inputs.push_back({RowProgram::kConstant, input.shape(), input.detach()});
  }
  void add(const Tensor& y, RowProgram::Step step) {
    const size_t index = program_.steps_.size();
    for (const RowProgram::Operand& operand : step.inputs) {
      if (!step.whole && !program_.is_whole(operand))
        program_.steps_[static_cast<size_t>(operand.step)].readers.push_back(index);
    }
    std::erase_if(undescribed_, [&](const auto& entry) { return entry.first == y.storage().get(); });
    know(y, static_cast<int64_t>(index));
    program_.steps_.push_back(std::move(step));
  }

  RowProgram& program_;
  std::map<const Storage*, std::pair<int64_t, Tensor>> known_;
  std::vector<std::pair<const Storage*, std::string>> undescribed_;  // results so far, and what made them
};

// One way of a picture from the top down to one step, its goal: how far every step before it has come.
class Passage {
 public:
  Passage(const RowProgram& program, size_t goal, int64_t height, int64_t width)
      : program_(program), goal_(goal), shapes_(program.steps_.size()), wanted_(program.steps_.size()) {
    done_.resize(shapes_.size());
    most_.resize(shapes_.size());
    for (size_t i = 0; i < shapes_.size(); ++i) {
      const RowProgram::Step& step = program.steps_[i];
      if (step.whole) continue;
      std::vector<Shape> inputs;
      for (const RowProgram::Operand& input : step.inputs)
        inputs.push_back(program.is_whole(input) ? input.shape : shapes_[static_cast<size_t>(input.step)]);
      shapes_[i] = step.op == nullptr ? Shape{1, height, width, 3} : step.op->shape(inputs);
    }
    wanted_[goal] = true;
    for (size_t i = goal + 1; i-- > 0;) {
      if (!wanted_[i]) continue;
      for (const RowProgram::Operand& input : program.steps_[i].inputs) {
        if (!program.is_whole(input)) wanted_[static_cast<size_t>(input.step)] = true;
      }
    }
  }

  bool wants(size_t step) const { return wanted_[step]; }
  const Shape& shape(size_t step) const { return shapes_[step]; }
  int64_t height(size_t step) const { return shapes_[step][1]; }
  /// The most rows that a step held at a time.
  int64_t most(size_t step) const { return most_[step]; }

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
    for (int64_t end = band; taken_ < height(goal_); end += band) {
      advance(goal_, end, compute);
      if (done_[goal_] > taken_) take(Rows{taken_, done_[goal_]});
      taken_ = done_[goal_];
    }
  }

 private:
  // Lets `step` come as far as row `end`, and those before it as far as that takes.
  template <class Compute>
  void advance(size_t step, int64_t end, const Compute& compute) {
    end = std::min(round_up(end), height(step));
    if (end <= done_[step]) return;
    const RowProgram::Step& made = program_.steps_[step];
    if (made.op != nullptr) {
      const Rows read = made.op->reads({done_[step], end});
      for (const RowProgram::Operand& input : made.inputs) {
        if (!program_.is_whole(input)) advance(static_cast<size_t>(input.step), read.end, compute);
      }
    }
    most_[step] = std::max(most_[step], end - oldest(step));
    compute(step, Rows{done_[step], end});
    done_[step] = end;
  }

  const RowProgram& program_;
  size_t goal_;
  std::vector<Shape> shapes_;
  std::vector<bool> wanted_;
  std::vector<int64_t> done_, most_;
  int64_t taken_ = 0;
};

namespace {

// The rows of one step that are still to be read, in one piece of memory.
class Window {
 public:
  Window(const Shape& shape, int64_t rows, DType dtype)
      : shape_(shape), buffer_(empty(shape.with(1, rows), {dtype, kCpu})) {}

  /// Room for `rows`, which follow those that are there; of these, only those from `oldest` on are kept.
  Tensor append(Rows rows, int64_t oldest) {
    if (rows.end - first_ > buffer_.size(1)) {
      const int64_t bytes = row_bytes(shape_, buffer_.dtype());
      auto* const base = static_cast<char*>(buffer_.raw());
      std::memmove(base, base + (oldest - first_) * bytes,
                   static_cast<size_t>((rows.begin - oldest) * bytes));
      first_ = oldest;
    }
    return at(rows);
  }
  /// The rows, which must be there.
  Tensor at(Rows rows) const {
    const int64_t bytes = row_bytes(shape_, buffer_.dtype());
    return {std::make_shared<Storage>(buffer_.storage(), (rows.begin - first_) * bytes, rows.count() * bytes),
            shape_.with(1, rows.count()), buffer_.dtype()};
  }

 private:
  Shape shape_;
  Tensor buffer_;
  int64_t first_ = 0;
};

void nowhere(size_t, Rows) {}
void nobody(Rows) {}

}  // namespace

// All passes of one picture.
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

  /// What is whole, in the order of execution: each summary in a pass of its own.
  void summarize() {
    for (size_t i = 0; i < results_.size(); ++i) {
      const Step& step = program_.steps_[i];
      if (step.summary != nullptr) {
        const auto goal = static_cast<size_t>(step.inputs[0].step);
        std::unique_ptr<RowTally> tally;
        pass(goal, [&](Rows rows, const Tensor& x, const Shape& shape) {
          if (tally == nullptr) tally = step.summary->begin(shape, x.dtype());
          tally->add({x, rows, shape[1]});
        });
        results_[i] = tally->result();
      } else if (step.whole) {
        Tensors inputs;
        for (const Operand& input : step.inputs) inputs.push_back(whole(input));
        results_[i] = step.op->whole(inputs);
      }
    }
  }

  template <class Take>
  void pass(size_t goal, const Take& take) {
    Passage plan(program_, goal, height_, width_);  // the same way without a picture, for the sizes
    plan.go(band_, nowhere, nobody);
    std::vector<std::unique_ptr<Window>> windows(results_.size());
    for (size_t i = 0; i < windows.size(); ++i) {
      if (plan.wants(i)) windows[i] = std::make_unique<Window>(plan.shape(i), plan.most(i), program_.dtype_);
    }
    Passage passage(program_, goal, height_, width_);
    const auto compute = [&](size_t index, Rows rows) {
      const Step& step = program_.steps_[index];
      const Tensor y = windows[index]->append(rows, passage.oldest(index));
      if (step.op == nullptr) return source_(rows, y);
      const Rows wanted = step.op->reads(rows);
      Bands inputs;
      for (const Operand& input : step.inputs) {
        if (program_.is_whole(input)) {
          inputs.push_back({whole(input), {}, 0});
          continue;
        }
        const auto from = static_cast<size_t>(input.step);
        const int64_t tall = passage.height(from);
        const Rows read{std::clamp<int64_t>(wanted.begin, 0, tall), std::clamp<int64_t>(wanted.end, 0, tall)};
        inputs.push_back({windows[from]->at(read), read, tall});
      }
      step.op->run(inputs, {y, rows, passage.height(index)});
    };
    passage.go(band_, compute, [&](Rows rows) { take(rows, windows[goal]->at(rows), passage.shape(goal)); });
  }

 private:
  Tensor whole(const Operand& operand) const {
    if (operand.step == kConstant) return operand.constant;
    return results_[static_cast<size_t>(operand.step)].with_shape(operand.shape);
  }

  const RowProgram& program_;
  int64_t height_, width_, band_;
  FunctionRef<void(Rows, const Tensor&)> source_;
  Tensors results_;  // of the steps that are whole
};

RowProgram RowProgram::record(FunctionRef<Tensor(const Tensor&)> network, int64_t side, DType dtype) {
  RowProgram program;
  program.dtype_ = dtype;
  const NoGrad no_grad;
  const Tensor picture = full({1, side, side, 3}, 0.5, {dtype, kCpu});
  ProgramRecorder listener(program, picture);
  listener.finish(network(picture));
  return program;
}

int64_t RowProgram::passes() const {
  return 1 + std::count_if(steps_.begin(), steps_.end(),
                           [](const Step& step) { return step.summary != nullptr; });
}

int64_t RowProgram::bytes(int64_t height, int64_t width, int64_t band) const {
  int64_t most = 0;
  const auto look_at = [&](size_t goal) {
    Passage passage(*this, goal, height, width);
    passage.go(band, nowhere, nobody);
    int64_t bytes = 0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (passage.wants(i)) bytes += passage.most(i) * row_bytes(passage.shape(i), dtype_);
    }
    most = std::max(most, bytes);
  };
  for (const Step& step : steps_) {
    if (step.summary != nullptr) look_at(static_cast<size_t>(step.inputs[0].step));
  }
  look_at(result_);
  return most;
}

void RowProgram::run(int64_t height, int64_t width, int64_t band,
                     FunctionRef<void(Rows, const Tensor&)> source,
                     FunctionRef<void(Rows, const Tensor&)> sink) const {
  check(obstacle_.empty(), "rows: ", obstacle_, " needs its picture as a whole");
  check(height > 0 && width > 0 && band > 0, "rows: expected a picture and bands with rows, got ", height,
        "x", width, " and ", band);
  const NoGrad no_grad;
  Run run(*this, height, width, band, source);
  run.summarize();
  run.pass(result_, [&](Rows rows, const Tensor& y, const Shape&) { sink(rows, y); });
}

}  // namespace lux
