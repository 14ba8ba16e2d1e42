#include "luxgrad/data/lut.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "luxgrad/tensor/error.h"

namespace lux {
namespace {

using Color = std::array<float, 3>;

constexpr int64_t kPixels = int64_t{1} << 20;  // of a large photo, evenly spread, are enough
constexpr int kPasses = 6;
constexpr double kPrior = 0.25;  // weight of what other colours say, against that of a pixel

/// A value between two nodes: the lower one, and the share of the upper.
struct Place {
  int64_t node;
  float share;
};

Place place_of(float value, int64_t size) {
  const float at = std::clamp(value, 0.0F, 1.0F) * static_cast<float>(size - 1);
  const int64_t node = std::min(static_cast<int64_t>(at), size - 2);
  return {node, at - static_cast<float>(node)};
}

/// f(index of node, weight) for the four nodes around a colour: those on the way through its cell from the
/// lower corner to the upper one, along the axis with the largest share first.
template <class F>
void each_corner(const Color& color, int64_t size, const F& f) {
  struct Axis {
    float share;
    int64_t step;
  };
  std::array<Axis, 3> axes{};
  int64_t node = 0, step = 1;
  for (size_t c = 0; c < 3; ++c, step *= size) {
    const Place place = place_of(color[c], size);
    node += step * place.node;
    axes[c] = {place.share, step};
  }
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.share > b.share; });
  f(node, 1 - axes[0].share);
  for (size_t i = 0; i < 3; ++i) {
    node += axes[i].step;
    f(node, axes[i].share - (i < 2 ? axes[i + 1].share : 0));
  }
}

/// What happened to one of red, green and blue as a function of itself: rising, with gaps bridged.
std::vector<float> curve_of(const float* before, const float* after, int64_t pixels, int64_t step,
                            int64_t size) {
  std::vector<double> sum(static_cast<size_t>(size)), weight(static_cast<size_t>(size));
  for (int64_t i = 0; i < pixels; i += step) {
    const Place place = place_of(before[3 * i], size);
    const auto add = [&](int64_t node, double w) {
      sum[static_cast<size_t>(node)] += w * static_cast<double>(after[3 * i]);
      weight[static_cast<size_t>(node)] += w;
    };
    add(place.node, 1 - static_cast<double>(place.share));
    add(place.node + 1, static_cast<double>(place.share));
  }
  std::vector<float> curve(static_cast<size_t>(size));
  int64_t known = -1;  // the last node with pixels; black and white stay where nothing says otherwise
  const auto value_at = [&](int64_t node) {
    return node < 0       ? 0.0
           : node >= size ? 1.0
                          : sum[static_cast<size_t>(node)] / weight[static_cast<size_t>(node)];
  };
  for (int64_t node = 0; node <= size; ++node) {
    if (node < size && weight[static_cast<size_t>(node)] < 1e-3) continue;
    for (int64_t gap = known + 1; gap < std::min(node + 1, size); ++gap) {
      const double begin = std::max<double>(static_cast<double>(known), 0);
      const double end = std::min<double>(static_cast<double>(node), static_cast<double>(size - 1));
      const double share = end > begin ? (static_cast<double>(gap) - begin) / (end - begin) : 1;
      curve[static_cast<size_t>(gap)] =
          static_cast<float>(value_at(known) + share * (value_at(node) - value_at(known)));
    }
    known = node;
  }
  for (size_t i = 1; i < curve.size(); ++i) curve[i] = std::max(curve[i], curve[i - 1]);
  return curve;
}

}  // namespace

std::array<float, 3> ColorLut::at(const std::array<float, 3>& color) const {
  Color result{};
  each_corner(color, size, [&](int64_t node, float weight) {
    for (size_t c = 0; c < 3; ++c) result[c] += weight * values[static_cast<size_t>(3 * node) + c];
  });
  return result;
}

ColorLut fit_lut(const Tensor& before, const Tensor& after, int64_t size) {
  const Shape& shape = before.shape();
  check(shape.rank() == 4 && shape[0] == 1 && shape[3] == 3 && shape.numel() > 0 && after.shape() == shape,
        "fit_lut: expected two pictures [1, H, W, 3], got ", shape, " and ", after.shape());
  check(size >= 2 && size <= 129, "fit_lut: expected a size from 2 to 129, got ", size);
  const int64_t pixels = shape[1] * shape[2], step = (pixels + kPixels - 1) / kPixels;
  const float* const from = before.data<float>();
  const float* const to = after.data<float>();
  std::array<std::vector<float>, 3> curves;
  for (size_t c = 0; c < 3; ++c) curves[c] = curve_of(from + c, to + c, pixels, step, size);

  const int64_t nodes = size * size * size;
  ColorLut lut{size, std::vector<float>(static_cast<size_t>(3 * nodes))};
  for (int64_t node = 0; node < nodes; ++node) {
    const std::array<int64_t, 3> at = {node % size, node / size % size, node / size / size};
    for (size_t c = 0; c < 3; ++c)
      lut.values[static_cast<size_t>(3 * node) + c] = curves[c][static_cast<size_t>(at[c])];
  }
  // What the table misses is given to the nodes around, again and again.
  std::vector<double> missed(static_cast<size_t>(3 * nodes)), weights(static_cast<size_t>(nodes));
  for (int pass = 0; pass < kPasses; ++pass) {
    std::fill(missed.begin(), missed.end(), 0.0);
    std::fill(weights.begin(), weights.end(), kPrior);
    for (int64_t i = 0; i < pixels; i += step) {
      const Color color = {from[3 * i], from[3 * i + 1], from[3 * i + 2]}, now = lut.at(color);
      each_corner(color, size, [&](int64_t node, float weight) {
        weights[static_cast<size_t>(node)] += static_cast<double>(weight);
        for (size_t c = 0; c < 3; ++c)
          missed[static_cast<size_t>(3 * node) + c] +=
              static_cast<double>(weight) * static_cast<double>(to[3 * i + static_cast<int64_t>(c)] - now[c]);
      });
    }
    for (size_t i = 0; i < missed.size(); ++i)
      lut.values[i] += static_cast<float>(missed[i] / weights[i / 3]);
  }
  for (float& value : lut.values) value = std::clamp(value, 0.0F, 1.0F);
  return lut;
}

std::string cube_text(const ColorLut& lut, const std::string& title) {
  std::string safe;
  for (const char c : printable(title)) safe += c == '"' ? '\'' : c;
  std::string text = cat("TITLE \"", safe, "\"\nLUT_3D_SIZE ", lut.size, "\n");
  std::array<char, 64> line{};
  for (size_t i = 0; i < lut.values.size(); i += 3) {
    const auto value = [&](size_t c) { return static_cast<double>(lut.values[i + c]); };
    std::snprintf(line.data(), line.size(), "%.6f %.6f %.6f\n", value(0), value(1), value(2));
    text += line.data();
  }
  return text;
}

}  // namespace lux
