#include "luxgrad/models/enhance.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/kernels/row_program.h"
#include "luxgrad/models/liveness.h"

namespace lux {
namespace {

constexpr int64_t kSmallPicture = int64_t{128} * 128;  // pixels: below, rows at a time gain nothing
constexpr int64_t kCacheBytes = int64_t{24} << 20;     // of all rows at a time
constexpr int64_t kLeastBand = 16, kMostBand = 64;     // rows, where memory is no matter
constexpr int64_t kLowestBand = 4;
constexpr int64_t kSampleSide = 64;  // of the picture that a program is recorded on

int64_t next_multiple(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

RowProgram program_of(const Model& model, double strength, DType dtype) {
  return RowProgram::record([&](const Tensor& x) { return model.enhance(x, strength); },
                            next_multiple(kSampleSide, 4 * model.traits().size_multiple), dtype);
}

// Where a picture that goes on mirrored, without its edge twice, has row or column `at`.
int64_t mirrored(int64_t at, int64_t size) {
  if (size == 1) return 0;
  const int64_t phase = at % (2 * size - 2);
  return std::min(phase, 2 * size - 2 - phase);
}

// Lines of pixels that are copied between pictures of different widths.
struct Lines {
  explicit Lines(const Tensor& rows)
      : pixel(3 * static_cast<int64_t>(size_of(rows.dtype()))),
        width(rows.size(2)),
        data(static_cast<char*>(rows.raw())) {}
  char* at(int64_t row, int64_t column) const { return data + (row * width + column) * pixel; }

  int64_t pixel, width;
  char* data;
};

// Rows of the picture, which goes on mirrored below and beside, into `padded`.
void pad_rows(int64_t height, int64_t width, RowSource source, Rows rows, const Tensor& padded) {
  const int64_t inside = std::clamp<int64_t>(height - rows.begin, 0, rows.count());
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

// What of the rows is inside of the picture.
void crop_rows(int64_t height, int64_t width, RowSink sink, Rows rows, const Tensor& padded) {
  const int64_t inside = std::min(rows.end, height) - rows.begin;
  if (inside <= 0) return;
  if (inside == rows.count() && width == padded.size(2)) return sink(rows.begin, padded);
  const Tensor kept = empty({1, inside, width, 3}, padded.options());
  const Lines from(padded), to(kept);
  for (int64_t row = 0; row < inside; ++row)
    std::memcpy(to.at(row, 0), from.at(row, 0), static_cast<size_t>(width * to.pixel));
  sink(rows.begin, kept);
}

// How a picture runs, and the bytes that this holds at a time.
struct Way {
  std::optional<RowProgram> rows;  // none: as a whole
  int64_t band = 0, bytes = 0;
};

Way way_of(const Model& model, int64_t height, int64_t width, DType dtype, const EnhanceOptions& options) {
  const bool by_rows = options.order == EnhanceOptions::by_rows, large = height * width >= kSmallPicture;
  const bool limited = options.memory > 0;
  const int64_t limit = limited ? options.memory : std::numeric_limits<int64_t>::max();
  const Way whole{{}, 0, limited ? liveness_optimum(model, height, width) : 0};
  const bool on_cpu = model.device() == kCpu;
  check(on_cpu || !by_rows, "enhance: networks run rows at a time on the CPU only");
  if (options.order == EnhanceOptions::whole || !on_cpu) return whole;
  if (!by_rows && !large && whole.bytes <= limit) return whole;

  RowProgram program = program_of(model, options.strength, dtype);
  check(!by_rows || program.obstacle().empty(), "enhance: ", model.name(),
        " cannot run rows at a time: ", program.obstacle(), " needs its picture as a whole");
  const bool pays = by_rows || program.passes() == 1 || whole.bytes > limit;
  if (!program.obstacle().empty() || !pays) return whole;
  const int64_t multiple = model.traits().size_multiple;
  const int64_t tall = next_multiple(height, multiple), wide = next_multiple(width, multiple);
  Way way{{}, kMostBand, program.bytes(tall, wide, kMostBand)};
  while ((way.bytes > kCacheBytes && way.band > kLeastBand) || (way.bytes > limit && way.band > kLowestBand))
    way.bytes = program.bytes(tall, wide, way.band /= 2);
  way.rows = std::move(program);
  return way;
}

// The same, if it keeps the limit.
Way affordable_way(const Model& model, int64_t height, int64_t width, DType dtype,
                   const EnhanceOptions& options) {
  Way way = way_of(model, height, width, dtype, options);
  if (options.memory > 0 && way.bytes > options.memory) {
    throw OutOfMemory(cat("enhance: expected to need at most ", options.memory, " bytes, but ", model.name(),
                          " needs ", way.bytes));
  }
  return way;
}

// Runs a picture of this size, padded to the network's multiple.
void run_padded(const Way& way, const Model& model, int64_t height, int64_t width, RowSource source,
                RowSink sink) {
  const int64_t multiple = model.traits().size_multiple;
  const int64_t tall = next_multiple(height, multiple), wide = next_multiple(width, multiple);
  way.rows->run(
      tall, wide, way.band, [&](Rows rows, const Tensor& x) { pad_rows(height, width, source, rows, x); },
      [&](Rows rows, const Tensor& y) { crop_rows(height, width, sink, rows, y); });
}

Tensor enhance_by_rows(const Way& way, const Model& model, const Tensor& picture) {
  Tensor y = empty(picture.shape(), picture.options());
  const int64_t height = picture.size(1), width = picture.size(2);
  const Lines dark(picture), bright(y);
  const auto bytes = [&](const Tensor& rows) {
    return static_cast<size_t>(rows.numel()) * size_of(rows.dtype());
  };
  for (int64_t n = 0; n < picture.size(0); ++n) {
    run_padded(
        way, model, height, width,
        [&](int64_t first, const Tensor& x) {
          std::memcpy(x.raw(), dark.at(n * height + first, 0), bytes(x));
        },
        [&](int64_t first, const Tensor& x) {
          std::memcpy(bright.at(n * height + first, 0), x.raw(), bytes(x));
        });
  }
  return y;
}

void check_strength(double strength) {
  check(strength >= 0 && strength <= 1, "enhance: expected a strength from 0 to 1, got ", strength);
}

}  // namespace

Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options) {
  const Shape& s = picture.shape();
  check(s.rank() == 4 && s[3] == 3 && s.numel() > 0, "enhance: expected a picture [N, H, W, 3], got ", s);
  check_strength(options.strength);
  if (const Device device = model.device(); device != picture.device())
    return enhance(model, picture.to(device), options).to(picture.device());
  const NoGrad no_grad;
  const int64_t multiple = model.traits().size_multiple;
  const int64_t height = next_multiple(s[1], multiple), width = next_multiple(s[2], multiple);
  if (const Way way = affordable_way(model, s[1], s[2], picture.dtype(), options); way.rows)
    return enhance_by_rows(way, model, picture);
  const int64_t below = height - s[1], beside = width - s[2];
  if (below == 0 && beside == 0) return model.enhance(picture, options.strength);
  const Tensor padded = reflect_pad(picture, {0, below, 0, beside});
  return reflect_pad(model.enhance(padded, options.strength), {0, -below, 0, -beside});
}

void enhance_rows(const Model& model, int64_t height, int64_t width, RowSource source, RowSink sink,
                  const EnhanceOptions& options) {
  check(height > 0 && width > 0, "enhance: expected a picture with pixels, got ", height, "x", width);
  check_strength(options.strength);
  const NoGrad no_grad;
  if (const Way way = affordable_way(model, height, width, DType::f32, options); way.rows)
    return run_padded(way, model, height, width, source, sink);
  const Tensor picture = empty({1, height, width, 3});
  source(0, picture);
  sink(0, enhance(model, picture, {.strength = options.strength, .order = EnhanceOptions::whole}));
}

int64_t enhance_bytes(const Model& model, int64_t height, int64_t width, const EnhanceOptions& options) {
  const NoGrad no_grad;
  const Way way = way_of(model, height, width, DType::f32, options);
  if (way.rows) return way.bytes;
  const int64_t picture = 3 * static_cast<int64_t>(sizeof(float)) * height * width;
  return liveness_optimum(model, height, width) + picture;  // and the result beside it, when it is cropped
}

std::string obstacle_to_rows(const Model& model) { return program_of(model, 1, DType::f32).obstacle(); }

}  // namespace lux
