#include "luxgrad/data/transforms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace lux {
namespace {

/// The sizes of a picture or a batch.
struct Sizes {
  int64_t N, H, W, C;
};
Sizes sizes_of(const char* op, const Tensor& image) {
  const Shape& s = image.shape();
  check(image.dtype() == DType::f32 && (s.rank() == 3 || s.rank() == 4) && s.numel() > 0, op,
        ": expected a picture [H, W, C] or [N, H, W, C] of f32, got ", s, " of ", image.dtype());
  return {s.rank() == 4 ? s[0] : 1, s[-3], s[-2], s[-1]};
}

Tensor with_sides(const Tensor& image, int64_t height, int64_t width) {
  return empty(image.shape().with(-3, height).with(-2, width));
}

/// The source elements `first, first + 1, …` of one output element, and their weights.
struct Taps {
  int64_t first;
  std::vector<double> weights;
};

double sinc(double x) {
  constexpr double kPi = 3.14159265358979323846;
  return x == 0 ? 1 : std::sin(kPi * x) / (kPi * x);
}
double lanczos3(double x) { return std::abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0; }

Taps lanczos_taps(int64_t i, int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), stretch = std::max(scale, 1.0);
  const double centre = (static_cast<double>(i) + 0.5) * scale, support = 3 * stretch;
  const int64_t first = std::max<int64_t>(0, std::lround(centre - support));
  const int64_t last = std::min<int64_t>(in, std::lround(centre + support));
  Taps taps{first, {}};
  double sum = 0;
  for (int64_t k = first; k < last; ++k) {
    taps.weights.push_back(lanczos3((static_cast<double>(k) - centre + 0.5) / stretch));
    sum += taps.weights.back();
  }
  for (double& weight : taps.weights) weight /= sum;
  return taps;
}

Taps bilinear_taps(int64_t i, int64_t in, int64_t out) {
  const double at = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
  const double clamped = std::clamp(at, 0.0, static_cast<double>(in - 1));
  const auto first = std::min(static_cast<int64_t>(clamped), std::max<int64_t>(0, in - 2));
  const double fraction = clamped - static_cast<double>(first);
  return in == 1 ? Taps{0, {1}} : Taps{first, {1 - fraction, fraction}};
}

// In units of 1/out of a source element everything is an integer: output i covers [i·in, (i + 1)·in), source
// k covers [k·out, (k + 1)·out).
Taps area_taps(int64_t i, int64_t in, int64_t out) {
  const int64_t begin = i * in, end = begin + in;
  Taps taps{begin / out, {}};
  for (int64_t k = taps.first; k * out < end; ++k) {
    const int64_t covered = std::min(end, (k + 1) * out) - std::max(begin, k * out);
    taps.weights.push_back(static_cast<double>(covered) / static_cast<double>(in));
  }
  return taps;
}

std::vector<Taps> taps_of(const ResizeImageOptions& options, int64_t in, int64_t out) {
  std::vector<Taps> all;
  for (int64_t i = 0; i < out; ++i) {
    switch (options.mode) {
      case Interpolation::nearest:
        all.push_back({(2 * i + 1) * in / (2 * out), {1}});
        break;
      case Interpolation::bilinear:
        all.push_back(bilinear_taps(i, in, out));
        break;
      case Interpolation::area:
        all.push_back(area_taps(i, in, out));
        break;
      case Interpolation::lanczos:
        all.push_back(lanczos_taps(i, in, out));
        break;
    }
    if (!options.eight_bit) continue;
    for (double& weight : all.back().weights) weight = std::round(weight * 0x1p22) * 0x1p-22;
  }
  return all;
}

double rounded_to_8_bits(double value) { return std::clamp(std::floor(value + 0.5), 0.0, 255.0); }

/// Resizes the middle one of the three dimensions of `source` [outer, in, inner].
void resize_pass(const float* source, float* target, int64_t outer, int64_t in, int64_t inner,
                 const std::vector<Taps>& taps, bool eight_bit) {
  std::vector<double> sums(static_cast<size_t>(inner));
  for (int64_t o = 0; o < outer; ++o, source += in * inner) {
    for (const Taps& tap : taps) {
      std::fill(sums.begin(), sums.end(), 0.0);
      const float* element = source + tap.first * inner;
      for (const double weight : tap.weights) {
        double* const sum = sums.data();
        for (int64_t k = 0; k < inner; ++k) sum[k] += weight * static_cast<double>(element[k]);
        element += inner;
      }
      for (const double sum : sums) *target++ = static_cast<float>(eight_bit ? rounded_to_8_bits(sum) : sum);
    }
  }
}

// Two neighbours with weights of 11 bits. Beyond the border the fraction of a column is 0; that of a row
// stays, and both neighbours are the outermost row.
struct FixedTaps {
  int64_t at[2], weight[2];

  FixedTaps(int64_t i, int64_t in, int64_t out, bool is_row) {
    const auto place = static_cast<float>(
        (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5);
    const auto first = static_cast<int64_t>(std::floor(place));
    const bool beyond = first < 0 || first >= in - 1;
    const float fraction = beyond && !is_row ? 0 : place - static_cast<float>(first);
    for (int64_t k = 0; k < 2; ++k) at[k] = std::clamp<int64_t>(first + k, 0, in - 1);
    weight[0] = std::lrint((1 - fraction) * 2048);
    weight[1] = std::lrint(fraction * 2048);
  }
};

/// OpenCV's INTER_LINEAR of 8-bit pictures, whose sums lose bits on their way.
Tensor resize_fixed(const Tensor& image, const Sizes& s, int64_t height, int64_t width) {
  std::vector<FixedTaps> columns;
  columns.reserve(static_cast<size_t>(width));
  for (int64_t x = 0; x < width; ++x) columns.emplace_back(x, s.W, width, false);
  std::vector<int64_t> across(static_cast<size_t>(s.H * width * s.C));
  Tensor result = with_sides(image, height, width);
  const float* source = image.data<float>();
  float* target = result.data<float>();
  for (int64_t n = 0; n < s.N; ++n) {
    auto sum = across.begin();
    for (int64_t y = 0; y < s.H; ++y, source += s.W * s.C) {
      for (const FixedTaps& taps : columns) {
        const float* const pixels[2] = {source + taps.at[0] * s.C, source + taps.at[1] * s.C};
        for (int64_t c = 0; c < s.C; ++c)
          *sum++ = taps.weight[0] * std::lrint(255 * pixels[0][c]) +
                   taps.weight[1] * std::lrint(255 * pixels[1][c]);
      }
    }
    for (int64_t y = 0; y < height; ++y) {
      const FixedTaps taps(y, s.H, height, true);
      for (int64_t i = 0; i < width * s.C; ++i) {
        int64_t value = 2;
        for (size_t k = 0; k < 2; ++k)
          value += (taps.weight[k] * (across[static_cast<size_t>(taps.at[k] * width * s.C + i)] >> 4)) >> 16;
        *target++ = static_cast<float>(value >> 2) / 255;
      }
    }
  }
  return result;
}

template <class F>
Tensor map(const Tensor& image, const F& f) {
  Tensor result = empty(image.shape());
  std::transform(image.data<float>(), image.data<float>() + image.numel(), result.data<float>(), f);
  return result;
}

/// The picture whose pixel (y, x) is the pixel `from(y, x)`, a flat index, of every picture in `image`.
template <class F>
Tensor gather(const Tensor& image, const Sizes& s, int64_t height, int64_t width, const F& from) {
  Tensor result = with_sides(image, height, width);
  const float* source = image.data<float>();
  float* target = result.data<float>();
  for (int64_t n = 0; n < s.N; ++n, source += s.H * s.W * s.C) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) target = std::copy_n(source + from(y, x) * s.C, s.C, target);
    }
  }
  return result;
}

}  // namespace

Tensor resize_image(const Tensor& image, int64_t height, int64_t width, const ResizeImageOptions& options) {
  const Sizes s = sizes_of("resize_image", image);
  check(height >= 1 && width >= 1, "resize_image: expected sides of at least 1, got ", height, " x ", width);
  if (options.eight_bit && options.mode == Interpolation::bilinear)
    return resize_fixed(image, s, height, width);
  Tensor current = image.detach();
  if (options.eight_bit) {
    current = map(
        image, [](float v) { return static_cast<float>(rounded_to_8_bits(255.0 * static_cast<double>(v))); });
  }
  if (width != s.W) {
    const Tensor wide = with_sides(image, s.H, width);
    resize_pass(current.data<float>(), wide.data<float>(), s.N * s.H, s.W, s.C, taps_of(options, s.W, width),
                options.eight_bit);
    current = wide;
  }
  if (height != s.H) {
    const Tensor tall = with_sides(image, height, width);
    resize_pass(current.data<float>(), tall.data<float>(), s.N, s.H, width * s.C,
                taps_of(options, s.H, height), options.eight_bit);
    current = tall;
  }
  return options.eight_bit ? map(current, [](float v) { return v / 255; }) : current;
}

Tensor crop(const Tensor& image, int64_t top, int64_t left, int64_t height, int64_t width) {
  const Sizes s = sizes_of("crop", image);
  check(height >= 1 && width >= 1 && top >= 0 && left >= 0 && top <= s.H - height && left <= s.W - width,
        "crop: expected a part of ", image.shape(), ", got ", height, " x ", width, " at (", top, ", ", left,
        ")");
  Tensor result = with_sides(image, height, width);
  float* target = result.data<float>();
  for (int64_t n = 0; n < s.N; ++n) {
    for (int64_t y = 0; y < height; ++y) {
      const float* const row = image.data<float>() + ((n * s.H + top + y) * s.W + left) * s.C;
      target = std::copy_n(row, width * s.C, target);
    }
  }
  return result;
}

Tensor flip_left_right(const Tensor& image) {
  const Sizes s = sizes_of("flip_left_right", image);
  return gather(image, s, s.H, s.W, [&](int64_t y, int64_t x) { return y * s.W + s.W - 1 - x; });
}

Tensor flip_up_down(const Tensor& image) {
  const Sizes s = sizes_of("flip_up_down", image);
  return gather(image, s, s.H, s.W, [&](int64_t y, int64_t x) { return (s.H - 1 - y) * s.W + x; });
}

Tensor rotate90(const Tensor& image, int64_t turns) {
  const Sizes s = sizes_of("rotate90", image);
  switch (turns & 3) {
    case 1:
      return gather(image, s, s.W, s.H, [&](int64_t y, int64_t x) { return x * s.W + s.W - 1 - y; });
    case 2:
      return gather(image, s, s.H, s.W,
                    [&](int64_t y, int64_t x) { return (s.H - 1 - y) * s.W + s.W - 1 - x; });
    case 3:
      return gather(image, s, s.W, s.H, [&](int64_t y, int64_t x) { return (s.H - 1 - x) * s.W + y; });
    default:
      return image.clone();
  }
}

}  // namespace lux
