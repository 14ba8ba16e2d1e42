#include "luxgrad/data/video.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

int64_t halved(int64_t size) { return (size + 1) / 2; }

/// Pixels that share a colour sample: 1 << x in a row, 1 << y in a column.
int shift_x(Chroma chroma) { return chroma == Chroma::c420 || chroma == Chroma::c422 ? 1 : 0; }
int shift_y(Chroma chroma) { return chroma == Chroma::c420 ? 1 : 0; }

/// Y' = r·R + g·G + b·B, the same for every matrix but for its weights (BT.601, BT.709, BT.2020, each in its
/// section on non-constant luminance); Cb = (B - Y')/(2 - 2b), Cr = (R - Y')/(2 - 2r).
struct Weights {
  float r, g, b;
};

Weights weights_of(ColorMatrix matrix) {
  switch (matrix) {
    case ColorMatrix::bt709:
      return {0.2126F, 0.7152F, 0.0722F};
    case ColorMatrix::bt2020:
      return {0.2627F, 0.6780F, 0.0593F};
    case ColorMatrix::bt601:
      break;
  }
  return {0.299F, 0.587F, 0.114F};
}

/// Samples as numbers: luma = (sample - black)/luma_span, colour = (sample - middle)/color_span.
struct Levels {
  float black, luma_span, middle, color_span, top;
};

Levels levels_of(const VideoFormat& format) {
  const auto unit = static_cast<float>(1 << (format.bits - 8));
  const auto top = static_cast<float>((1 << format.bits) - 1);
  const float middle = 128 * unit;
  if (format.full_range) return {0, top, middle, top, top};
  return {16 * unit, 219 * unit, middle, 224 * unit, top};
}

int sample_at(const uint8_t* plane, int64_t i, int sample_bytes) {
  return sample_bytes == 1 ? plane[i] : plane[2 * i] | plane[2 * i + 1] << 8;
}

void set_sample(uint8_t* plane, int64_t i, int sample_bytes, float value, float top) {
  // NOLINTNEXTLINE(bugprone-incorrect-roundings): never negative
  const auto sample = static_cast<unsigned>(std::min(std::max(value, 0.0F), top) + 0.5F);
  if (sample_bytes == 1) {
    plane[i] = static_cast<uint8_t>(sample);
  } else {
    plane[2 * i] = static_cast<uint8_t>(sample & 255);
    plane[2 * i + 1] = static_cast<uint8_t>(sample >> 8);
  }
}

/// Where the planes of a frame begin; the second and third are the first where there are no others.
std::array<int64_t, 3> plane_offsets(const VideoFormat& format) {
  const int64_t luma = format.plane_bytes(0);
  return format.planes() == 1 ? std::array<int64_t, 3>{0, 0, 0}
                              : std::array<int64_t, 3>{0, luma, luma + format.plane_bytes(1)};
}

float clamped(float value) { return value > 0 ? std::min(value, 1.0F) : 0; }  // NaN is 0

/// One row of pixels becomes luma, and is added to the colour sums of the row of samples that covers it.
void split_row(const float* rgb, int64_t width, int shift, const Weights& w, const Levels& level,
               uint8_t* luma, int sample_bytes, float* blue, float* red) {
  for (int64_t x = 0; x < width; ++x) {
    const float r = clamped(rgb[3 * x]), g = clamped(rgb[3 * x + 1]), b = clamped(rgb[3 * x + 2]);
    const float y = w.r * r + w.g * g + w.b * b;
    set_sample(luma, x, sample_bytes, level.black + level.luma_span * y, level.top);
    if (blue == nullptr) continue;
    blue[x >> shift] += (b - y) / (2 - 2 * w.b);
    red[x >> shift] += (r - y) / (2 - 2 * w.r);
  }
}

}  // namespace

int64_t VideoFormat::plane_width(int plane) const {
  return plane > 0 && shift_x(chroma) == 1 ? halved(width) : width;
}

int64_t VideoFormat::plane_height(int plane) const {
  return plane > 0 && shift_y(chroma) == 1 ? halved(height) : height;
}

int64_t VideoFormat::frame_bytes() const {
  int64_t bytes = 0;
  for (int plane = 0; plane < planes(); ++plane) bytes += plane_bytes(plane);
  return bytes;
}

void check_video_format(const VideoFormat& format, const ImageLimits& limits) {
  using enum FileErrorCode;
  check_image_size(format.width, format.height, int64_t{3} * format.sample_bytes(), limits);
  if (format.bits < 8 || format.bits > 16)
    refuse(unsupported, -1, "has ", format.bits, " bits per sample, expected 8 to 16");
  for (const Rational& positive : {format.time_base, format.rate, format.sample_aspect}) {
    if (positive.num <= 0 || positive.den <= 0 || positive.num > INT32_MAX || positive.den > INT32_MAX)
      refuse(malformed, -1, "declares the ratio ", positive.num, ":", positive.den);
  }
}

Tensor to_tensor(const VideoFrame& frame, const VideoFormat& format) {
  check(frame.samples.size() == static_cast<size_t>(format.frame_bytes()), "to_tensor: expected a frame of ",
        format.frame_bytes(), " bytes, got ", frame.samples.size());
  const int64_t width = format.width;
  Tensor picture = empty({1, format.height, width, 3});
  float* const values = picture.data<float>();
  const Weights w = weights_of(format.matrix);
  const Levels level = levels_of(format);
  const int bytes = format.sample_bytes(), across = shift_x(format.chroma), down = shift_y(format.chroma);
  const std::array<int64_t, 3> offsets = plane_offsets(format);
  const bool gray = format.planes() == 1;
  const float to_blue = 2 - 2 * w.b, to_red = 2 - 2 * w.r;
  parallel_rows(kCpu, format.height, width * 3, [&](const Team&, int64_t y) {
    const uint8_t* const luma = frame.samples.data() + y * width * bytes;
    const int64_t color_row = (y >> down) * format.plane_width(1) * bytes;
    const uint8_t* const blue = frame.samples.data() + offsets[1] + color_row;
    const uint8_t* const red = frame.samples.data() + offsets[2] + color_row;
    float* const to = values + y * width * 3;
    for (int64_t x = 0; x < width; ++x) {
      const float light = (static_cast<float>(sample_at(luma, x, bytes)) - level.black) / level.luma_span;
      const auto difference = [&](const uint8_t* plane) {
        return gray ? 0
                    : (static_cast<float>(sample_at(plane, x >> across, bytes)) - level.middle) /
                          level.color_span;
      };
      const float r = light + to_red * difference(red), b = light + to_blue * difference(blue);
      to[3 * x] = clamped(r);
      to[3 * x + 1] = clamped((light - w.r * r - w.b * b) / w.g);
      to[3 * x + 2] = clamped(b);
    }
  });
  return picture;
}

void from_tensor(const Tensor& picture, const VideoFormat& format, VideoFrame& frame) {
  const int64_t width = format.width, height = format.height;
  check(picture.shape() == Shape({1, height, width, 3}), "from_tensor: expected [1, ", height, ", ", width,
        ", 3], got ", picture.shape());
  const float* const values = picture.data<float>();
  frame.samples.resize(static_cast<size_t>(format.frame_bytes()));
  const Weights w = weights_of(format.matrix);
  const Levels level = levels_of(format);
  const int bytes = format.sample_bytes(), across = shift_x(format.chroma), down = shift_y(format.chroma);
  const std::array<int64_t, 3> offsets = plane_offsets(format);
  const bool gray = format.planes() == 1;
  const int64_t color_width = gray ? 0 : format.plane_width(1), bands = (height + down) >> down;
  // A band is a row of colour samples and the rows of pixels that it covers.
  parallel_rows(kCpu, bands, (width * 3) << down, [&](const Team&, int64_t band) {
    thread_local std::vector<float> sums;  // kept, so that a stream allocates nothing
    sums.assign(static_cast<size_t>(2 * color_width), 0);
    float* const blue = gray ? nullptr : sums.data();
    float* const red = gray ? nullptr : sums.data() + color_width;
    const int64_t end = std::min(height, (band + 1) << down);
    for (int64_t y = band << down; y < end; ++y) {
      split_row(values + y * width * 3, width, across, w, level, frame.samples.data() + y * width * bytes,
                bytes, blue, red);
    }
    for (int64_t x = 0; x < color_width; ++x) {
      const int64_t covered = (std::min(width, (x + 1) << across) - (x << across)) * (end - (band << down));
      const float scale = level.color_span / static_cast<float>(covered);
      const int64_t i = band * color_width + x;
      set_sample(frame.samples.data() + offsets[1], i, bytes, level.middle + scale * blue[x], level.top);
      set_sample(frame.samples.data() + offsets[2], i, bytes, level.middle + scale * red[x], level.top);
    }
  });
}

}  // namespace lux
