#include "luxgrad/models/enhance.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/models/enhance_way.h"
#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/text.h"

namespace lux {
namespace {

// Where a picture that goes on mirrored, without its edge twice, has row or column `at`.
int64_t mirrored(int64_t at, int64_t size) {
  if (size == 1) return 0;
  const int64_t phase = at % (2 * size - 2);
  return std::min(phase, 2 * size - 2 - phase);
}

// Lines of pixels that are copied between pictures of different widths.
struct Lines {
  explicit Lines(const Tensor& rows)
      : pixel(rows.size(3) * static_cast<int64_t>(size_of(rows.dtype()))),
        width(rows.size(2)),
        data(static_cast<char*>(rows.raw())) {}
  char* at(int64_t row, int64_t column) const { return data + (row * width + column) * pixel; }

  int64_t pixel, width;
  char* data;
};

// The pixels of `source` from `row` and `column` on, as many as `target` has.
void copy_block(const Tensor& source, int64_t row, int64_t column, const Tensor& target) {
  const Lines from(source), to(target);
  for (int64_t i = 0; i < target.size(1); ++i)
    std::memcpy(to.at(i, 0), from.at(row + i, column), static_cast<size_t>(to.width * to.pixel));
}

// Rows of the picture, which goes on mirrored below and beside, into `padded`.
void pad_rows(int64_t height, int64_t width, RowSource source, Rows rows, const Tensor& padded) {
  const int64_t inside = std::clamp<int64_t>(height - rows.begin, 0, rows.count());
  if (inside == rows.count() && padded.size(2) == width) return source(rows.begin, padded);
  const Lines to(padded);
  const auto pad = [&](const Tensor& given, int64_t row) {
    const Lines from(given);
    for (int64_t i = 0; i < given.size(1); ++i) {
      std::memcpy(to.at(row + i, 0), from.at(i, 0), static_cast<size_t>(width * to.pixel));
      for (int64_t w = width; w < to.width; ++w)
        std::memcpy(to.at(row + i, w), from.at(i, mirrored(w, width)), static_cast<size_t>(to.pixel));
    }
  };
  if (inside > 0) {
    const Tensor given = empty({1, inside, width, 3}, padded.options());
    source(rows.begin, given);
    pad(given, 0);
  }
  for (int64_t row = inside; row < rows.count(); ++row) {
    const Tensor given = empty({1, 1, width, 3}, padded.options());
    source(mirrored(rows.begin + row, height), given);
    pad(given, row);
  }
}

// The picture that many times smaller: means of squares. What is left over at the right and below stays out.
Tensor reduced_copy(const PaddedSize& size, int64_t reduction, DType dtype, RowSource source) {
  const int64_t height = std::max<int64_t>(1, size.height / reduction);
  const int64_t width = std::max<int64_t>(1, size.width / reduction);
  const int64_t down = std::min(reduction, size.height), across = std::min(reduction, size.width);
  const Tensor copy = empty({1, height, width, 3}, {dtype, kCpu});
  for (int64_t row = 0; row < height; ++row) {
    const Tensor rows = empty({1, down, size.width, 3}, copy.options());
    source(row * down, rows);
    dispatch(dtype, [&](auto t) {
      using T = decltype(t);
      const T* const from = rows.data<T>();
      T* const to = copy.data<T>() + row * width * 3;
      parallel_for(kCpu, width * 3, [=](int64_t i) {
        double sum = 0;
        for (int64_t y = 0; y < down; ++y) {
          for (int64_t x = 0; x < across; ++x)
            sum += static_cast<double>(Arith<T>(from[(y * size.width + i / 3 * across + x) * 3 + i % 3]));
        }
        to[i] = T(static_cast<Arith<T>>(sum / static_cast<double>(down * across)));
      });
    });
  }
  return copy;
}

// The padded picture as a whole, stored as the weights; it is on the device of the network.
Tensor run_there(const Wanted& wanted, const Tensor& picture) {
  if (const DType dtype = wanted.model.dtype(); dtype != picture.dtype())
    return run_there(wanted, picture.to(dtype)).to(picture.dtype());
  const PaddedSize size(wanted.model, picture.size(1), picture.size(2));
  const int64_t below = size.tall - size.height, beside = size.wide - size.width;
  if (below == 0 && beside == 0) return wanted(picture);
  const Tensor padded = reflect_pad(picture, {0, below, 0, beside});
  return reflect_pad(wanted(padded), {0, -below, 0, -beside});
}

// The same for a picture anywhere. On a device, where launches take longer than many a kernel, as a graph;
// but not while somebody watches the operators or asks for their statistics.
Tensor run_whole(const Wanted& wanted, const Tensor& picture) {
  const Device device = wanted.model.device();
  if (device == kCpu || observed() || detail::row_recorder() != nullptr)
    return run_there(wanted, picture.to(device)).to(picture.device());
  Tensors weights;
  for (const auto& [name, tensor] : wanted.model.state_dict()) weights.push_back(tensor);
  const std::string key =
      cat(wanted.model.name(), " ", exact_text(wanted.strength), wanted.curves != nullptr ? " curves " : " ",
          precision(), plain_kernels() ? " plain" : "");
  const auto run = [&](const Tensors& x) -> Tensors { return {run_there(wanted, x[0])}; };
  const Tensor y = wanted.model.graphs().run(key, {picture}, weights, run)[0];
  return picture.device() == device ? y.clone() : y.to(picture.device());  // the graph writes into y again
}

// Runs a picture, which is on the host, rows at a time, tile by tile; the rows go to the device of the
// network and back, in its dtype there.
class TiledRun {
 public:
  /// `program` is the way's.
  TiledRun(const Way& way, const RowProgram& program, const Wanted& wanted, const PaddedSize& size,
           DType dtype, RowSource source)
      : way_(way),
        program_(program),
        size_(size),
        dtype_(dtype),
        there_{wanted.model.dtype(), wanted.model.device()},
        source_(source) {
    if (way.reduction > 0) {
      const Tensor copy = reduced_copy(size, way.reduction, dtype, source);
      statistics_ = RowProgram::statistics_of([&](const Tensor& x) { return run_whole(wanted, x); }, copy);
    } else {
      statistics_ = program.statistics(size.tall, size.wide, way.band, [&](Rows rows, const Tensor& x) {
        give(rows, {0, size_.wide}, x);
      });
    }
  }

  void run(PartSink sink) const {
    const int64_t step = way_.tile == 0 ? size_.wide : way_.tile;
    for (int64_t left = 0; left < size_.width; left += step) {
      const Piece columns = piece(left, step, size_.width, size_.wide);
      if (way_.reduction > 0)
        run_squares(columns, sink);
      else
        run_bands(columns, sink);
    }
  }

 private:
  using Range = Rows;  // or columns
  // What a tile makes along one side of the picture, and what it reads for that.
  struct Piece {
    Range kept, read;
  };
  Piece piece(int64_t begin, int64_t step, int64_t size, int64_t padded) const {
    return {{begin, std::min(begin + step, size)}, read_along(begin, step, way_.halo, padded)};
  }

  void run_bands(const Piece& columns, PartSink sink) const {
    program_.run(
        size_.tall, columns.read.count(), way_.band, statistics_,
        [&](Rows rows, const Tensor& x) { give(rows, columns.read, x); },
        [&](Rows rows, const Tensor& y) {
          const Range inside{rows.begin, std::min(rows.end, size_.height)};
          if (inside.count() > 0) take(y, {.kept = inside, .read = rows}, columns, sink);
        });
  }
  void run_squares(const Piece& columns, PartSink sink) const {
    for (int64_t top = 0; top < size_.height; top += way_.tile) {
      const Piece rows = piece(top, way_.tile, size_.height, size_.tall);
      const Tensor x = empty({1, rows.read.count(), columns.read.count(), 3}, there_);
      give(rows.read, columns.read, x);
      take(program_.run_at_once(x, statistics_), rows, columns, sink);
    }
  }

  // A part of the padded picture into x.
  void give(Range rows, Range columns, const Tensor& x) const {
    if (x.device() != kCpu || x.dtype() != dtype_) {
      const Tensor here = empty(x.shape(), {dtype_, kCpu});
      give(rows, columns, here);
      return copy_(x, here);
    }
    if (columns.count() == size_.wide) return pad_rows(size_.height, size_.width, source_, rows, x);
    const Tensor all = empty(x.shape().with(2, size_.wide), x.options());
    pad_rows(size_.height, size_.width, source_, rows, all);
    copy_block(all, 0, columns.begin, x);
  }
  // Hands over what of y is kept.
  void take(const Tensor& made, const Piece& rows, const Piece& columns, PartSink sink) const {
    const Tensor y = made.to(kCpu).to(dtype_);
    const int64_t height = rows.kept.count(), width = columns.kept.count();
    if (height == y.size(1) && width == y.size(2)) return sink(rows.kept.begin, columns.kept.begin, y);
    const Tensor part = empty({1, height, width, y.size(3)}, y.options());
    copy_block(y, rows.kept.begin - rows.read.begin, columns.kept.begin - columns.read.begin, part);
    sink(rows.kept.begin, columns.kept.begin, part);
  }

  const Way& way_;
  const RowProgram& program_;
  PaddedSize size_;
  DType dtype_;          // of the picture
  TensorOptions there_;  // of what the network reads and makes
  RowSource source_;     // outlives this
  Tensors statistics_;
};

Tensor enhance_by_rows(const Way& way, const RowProgram& program, const Wanted& wanted,
                       const PaddedSize& size, const Tensor& picture) {
  if (picture.device() != kCpu)
    return enhance_by_rows(way, program, wanted, size, picture.to(kCpu)).to(picture.device());
  Tensor y = empty(picture.shape(), picture.options());
  const Lines dark(picture), bright(y);
  for (int64_t n = 0; n < picture.size(0); ++n) {
    const int64_t top = n * size.height;
    const auto source = [&](int64_t first, const Tensor& rows) {
      std::memcpy(rows.raw(), dark.at(top + first, 0), static_cast<size_t>(rows.numel() / 3 * dark.pixel));
    };
    const TiledRun run(way, program, wanted, size, picture.dtype(), source);
    run.run([&](int64_t first, int64_t column, const Tensor& part) {
      const Lines from(part);
      for (int64_t row = 0; row < part.size(1); ++row)
        std::memcpy(bright.at(top + first + row, column), from.at(row, 0),
                    static_cast<size_t>(from.width * from.pixel));
    });
  }
  return y;
}

void check_picture(int64_t height, int64_t width, const EnhanceOptions& options) {
  check(height > 0 && width > 0, "enhance: expected a picture with pixels, got ", height, "x", width);
  check(options.strength >= 0 && options.strength <= 1, "enhance: expected a strength from 0 to 1, got ",
        options.strength);
}

// Kernels keep their forms of the weights, except where memory is limited: these bytes would come on top. It
// begins when the way is known: the small pictures that ways are found with want other forms, and more of
// them.
struct KeepForThisRun {
  explicit KeepForThisRun(const EnhanceOptions& options) {
    if (options.memory == 0) keep.emplace();
  }
  std::optional<KeepDerivedWeights> keep;
};

}  // namespace

EnhancePlan enhance_plan(const Model& model, int64_t height, int64_t width, const EnhanceOptions& options) {
  return Enhancer(model, height, width, options).plan();
}

std::optional<EnhanceOptions> in_half_the_memory(const Model& model, int64_t height, int64_t width,
                                                 const EnhanceOptions& options) try {
  const int64_t bytes = enhance_plan(model, height, width, options).bytes;
  EnhanceOptions less = options;
  less.memory = bytes / 2;
  less.memory = enhance_plan(model, height, width, less).bytes;
  return less.memory < bytes ? std::optional(less) : std::nullopt;
} catch (const std::bad_alloc&) {  // not even that can be found out
  return std::nullopt;
}

struct Enhancer::Plan {
  Wanted wanted;
  PaddedSize size;
  EnhanceOptions options;
  DType dtype;
  Way way;
  Device device;                           // of the network; the way depends on it
  Precision precision = lux::precision();  // and on this
};

namespace {

Way way_without_graph(const Wanted& wanted, const PaddedSize& size, const EnhanceOptions& options) {
  check_picture(size.height, size.width, options);
  const NoGrad no_grad;
  return way_of(wanted, size, options);
}

}  // namespace

Enhancer::Enhancer(std::unique_ptr<const Plan> plan) : plan_(std::move(plan)) {}
Enhancer::Enhancer(const Model& model, int64_t height, int64_t width, const EnhanceOptions& options,
                   DType dtype) {
  const Wanted wanted{model, options.strength};
  const PaddedSize size(model, height, width);
  plan_ = std::make_unique<const Plan>(
      Plan{wanted, size, options, dtype, way_without_graph(wanted, size, options), model.device()});
}
Enhancer Enhancer::of_curves(const CurveModel& model, int64_t height, int64_t width,
                             const EnhanceOptions& given) {
  EnhanceOptions options = given;
  options.tile = 0;
  const Wanted wanted{model, 1, &model};
  const PaddedSize size(model, height, width);
  Way way = way_without_graph(wanted, size, options);
  return Enhancer(
      std::make_unique<const Plan>(Plan{wanted, size, options, DType::f32, std::move(way), model.device()}));
}
Enhancer::~Enhancer() = default;
Enhancer::Enhancer(Enhancer&& other) noexcept = default;
Enhancer& Enhancer::operator=(Enhancer&& other) noexcept = default;

EnhancePlan Enhancer::plan() const {
  EnhancePlan plan = plan_->way;
  if (!plan_->way.program && plan.bytes == 0) plan.bytes = whole_bytes(plan_->wanted, plan_->size);
  return plan;
}

bool Enhancer::serves(int64_t height, int64_t width, const EnhanceOptions& options) const {
  const EnhanceOptions& own = plan_->options;
  const auto same_but_memory = [](const EnhanceOptions& o) {
    return std::tuple(o.strength, o.order, o.tile, o.approximate, o.reduction);
  };
  const auto fits = [&](int64_t limit) { return plan_->way.bytes <= limit; };
  const bool more = options.memory == 0 || options.memory > own.memory;
  // Without a limit nobody has counted how many bytes it takes as a whole.
  const bool memory = own.memory == 0
                          ? options.memory == 0
                          : fits(own.memory) && (more ? !plan_->way.limited : fits(options.memory));
  return memory && same_but_memory(own) == same_but_memory(options) && plan_->size.height == height &&
         plan_->size.width == width && plan_->wanted.model.device() == plan_->device &&
         precision() == plan_->precision;
}

// The plan, if it keeps the limit.
const Enhancer::Plan& Enhancer::affordable() const {
  const auto& [wanted, size, options, dtype, way, device, precision] = *plan_;
  if (options.memory > 0 && way.bytes > options.memory) {
    throw OutOfMemory(cat("enhance: expected to need at most ", options.memory, " bytes, but ",
                          wanted.model.name(), " needs ", way.bytes));
  }
  return *plan_;
}

bool Enhancer::takes(const Tensor& picture) const {
  const Shape& s = picture.shape();
  return s.rank() == 4 && s[0] > 0 && s[1] == plan_->size.height && s[2] == plan_->size.width && s[3] == 3 &&
         picture.dtype() == plan_->dtype && plan_->wanted.model.device() == plan_->device &&
         precision() == plan_->precision;
}

Tensor Enhancer::operator()(const Tensor& picture) const {
  const auto& [wanted, size, options, dtype, way, device, precision] = affordable();
  check(wanted.curves == nullptr, "enhance: curves come as rows");
  check(takes(picture), "enhance: expected a picture ", Shape{1, size.height, size.width, 3}, ", got ",
        picture.shape());
  const NoGrad no_grad;
  const KeepForThisRun keep(options);
  if (way.program) return enhance_by_rows(way, *way.program, wanted, size, picture);
  return run_whole(wanted, picture);
}

void Enhancer::rows(RowSource source, PartSink sink) const {
  const auto& [wanted, size, options, dtype, way, device, precision] = affordable();
  check(dtype == DType::f32, "enhance: expected rows of f32, got ", dtype);
  const NoGrad no_grad;
  const KeepForThisRun keep(options);
  if (way.program) return TiledRun(way, *way.program, wanted, size, dtype, source).run(sink);
  const Tensor picture = empty({1, size.height, size.width, 3});
  source(0, picture);
  sink(0, 0, run_whole(wanted, picture));
}

Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options) {
  const Shape& s = picture.shape();
  check(s.rank() == 4 && s[3] == 3 && s.numel() > 0, "enhance: expected a picture [N, H, W, 3], got ", s);
  return Enhancer(model, s[1], s[2], options, picture.dtype())(picture);
}

void enhance_rows(const Model& model, int64_t height, int64_t width, RowSource source, PartSink sink,
                  const EnhanceOptions& options) {
  Enhancer(model, height, width, options).rows(source, sink);
}

}  // namespace lux
