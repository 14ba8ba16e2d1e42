#include "luxgrad/models/enhance.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/kernels/row_program.h"
#include "luxgrad/models/liveness.h"

namespace lux {
namespace {

constexpr int64_t kSmallPicture = int64_t{128} * 128;  // pixels: below, rows at a time gain nothing
constexpr int64_t kCacheBytes = int64_t{24} << 20;     // of all rows at a time
constexpr int64_t kLeastBand = 16, kMostBand = 64;
constexpr int64_t kSampleSide = 64;  // of the picture that a program is recorded on

int64_t next_multiple(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

RowProgram program_of(const Model& model, double strength, DType dtype) {
  return RowProgram::record([&](const Tensor& x) { return model.enhance(x, strength); },
                            next_multiple(kSampleSide, 4 * model.traits().size_multiple), dtype);
}

// Rows of the padded picture, which goes on mirrored below and beside.
void pad_rows(const Tensor& picture, int64_t n, Rows rows, const Tensor& padded) {
  const int64_t H = picture.size(1), W = picture.size(2);
  const int64_t pixel = 3 * static_cast<int64_t>(size_of(picture.dtype()));
  const auto mirrored = [](int64_t at, int64_t size) {
    if (size == 1) return int64_t{0};
    const int64_t phase = at % (2 * size - 2);
    return std::min(phase, 2 * size - 2 - phase);
  };
  const auto* const from = static_cast<const char*>(picture.raw()) + n * H * W * pixel;
  auto* to = static_cast<char*>(padded.raw());
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    const char* const row = from + mirrored(h, H) * W * pixel;
    std::memcpy(to, row, static_cast<size_t>(W * pixel));
    for (int64_t w = W; w < padded.size(2); ++w)
      std::memcpy(to + w * pixel, row + mirrored(w, W) * pixel, static_cast<size_t>(pixel));
    to += padded.size(2) * pixel;
  }
}

// The first columns of rows that end beyond the picture's last row at most.
void crop_rows(const Tensor& padded, int64_t n, Rows rows, const Tensor& picture) {
  const int64_t H = picture.size(1), W = picture.size(2);
  const int64_t pixel = 3 * static_cast<int64_t>(size_of(picture.dtype()));
  const auto* const from = static_cast<const char*>(padded.raw());
  auto* const to = static_cast<char*>(picture.raw()) + (n * H + rows.begin) * W * pixel;
  for (int64_t row = 0; row < std::min(rows.end, H) - rows.begin; ++row) {
    std::memcpy(to + row * W * pixel, from + row * padded.size(2) * pixel, static_cast<size_t>(W * pixel));
  }
}

// The program by which a padded picture runs, where it runs rows at a time.
std::optional<RowProgram> row_program(const Model& model, const EnhanceOptions& options, int64_t height,
                                      int64_t width, DType dtype) {
  const bool by_rows = options.order == EnhanceOptions::by_rows, large = height * width >= kSmallPicture;
  if (!by_rows && (options.order == EnhanceOptions::whole || !large)) return std::nullopt;
  RowProgram program = program_of(model, options.strength, dtype);
  check(!by_rows || program.obstacle().empty(), "enhance: ", model.name(),
        " cannot run rows at a time: ", program.obstacle(), " needs its picture as a whole");
  const bool pays = program.obstacle().empty() && (program.passes() == 1 || by_rows);
  return pays ? std::optional(std::move(program)) : std::nullopt;
}

int64_t band_of(const RowProgram& program, int64_t height, int64_t width) {
  int64_t band = kMostBand;
  while (band > kLeastBand && program.bytes(height, width, band) > kCacheBytes) band /= 2;
  return band;
}

Tensor enhance_by_rows(const RowProgram& program, const Tensor& picture, int64_t height, int64_t width) {
  const int64_t band = band_of(program, height, width);
  Tensor y = empty(picture.shape(), picture.options());
  for (int64_t n = 0; n < picture.size(0); ++n) {
    program.run(
        height, width, band, [&](Rows rows, const Tensor& x) { pad_rows(picture, n, rows, x); },
        [&](Rows rows, const Tensor& bright) { crop_rows(bright, n, rows, y); });
  }
  return y;
}

}  // namespace

Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options) {
  const Shape& s = picture.shape();
  check(s.rank() == 4 && s[3] == 3 && s.numel() > 0, "enhance: expected a picture [N, H, W, 3], got ", s);
  check(options.strength >= 0 && options.strength <= 1, "enhance: expected a strength from 0 to 1, got ",
        options.strength);
  const NoGrad no_grad;
  const int64_t multiple = model.traits().size_multiple;
  const int64_t height = next_multiple(s[1], multiple), width = next_multiple(s[2], multiple);
  if (const auto program = row_program(model, options, height, width, picture.dtype()))
    return enhance_by_rows(*program, picture, height, width);
  const int64_t below = height - s[1], beside = width - s[2];
  if (below == 0 && beside == 0) return model.enhance(picture, options.strength);
  const Tensor padded = reflect_pad(picture, {0, below, 0, beside});
  return reflect_pad(model.enhance(padded, options.strength), {0, -below, 0, -beside});
}

int64_t enhance_bytes(const Model& model, int64_t height, int64_t width) {
  const int64_t multiple = model.traits().size_multiple;
  const int64_t h = next_multiple(height, multiple), w = next_multiple(width, multiple);
  const auto program = row_program(model, {}, h, w, DType::f32);
  if (!program) return liveness_optimum(model, height, width);
  const int64_t picture = 3 * static_cast<int64_t>(sizeof(float)) * height * width;
  return 2 * picture + program->bytes(h, w, band_of(*program, h, w));
}

std::string obstacle_to_rows(const Model& model) { return program_of(model, 1, DType::f32).obstacle(); }

}  // namespace lux
