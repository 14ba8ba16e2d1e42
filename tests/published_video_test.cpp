// What `luxgrad video --compat 256` does to a frame, against the same in a few lines of plain code.
#include "luxgrad/tools/published_video.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/tensor/random.h"

using namespace lux;

namespace {

constexpr int64_t kSide = 256;

// Another line for every channel, so that exchanged channels show; some results leave [0, 1].
constexpr double kGain[] = {1.7, 0.6, 1.1}, kOffset[] = {-0.13, 0.2, 0.07};

struct Lines final : Model {
  std::string name() const override { return "lines"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override { return {}; }
  void init_(const Generator& /*generator*/) override {}
  Tensor enhance(const Tensor& x, double /*strength*/) const override {
    const Tensor gain = zeros({3, 1, 1, 3}), offset = empty({3});
    for (int64_t c = 0; c < 3; ++c) {
      gain.data<float>()[4 * c] = static_cast<float>(kGain[c]);
      offset.data<float>()[c] = static_cast<float>(kOffset[c]);
    }
    return conv2d(x, gain, offset);
  }
};

/// Levels 0 to 255 of a picture, row by row, three a pixel.
struct Levels {
  int64_t height, width;
  std::vector<double> values;
  double at(int64_t y, int64_t x, int64_t c) const {
    y = std::clamp<int64_t>(y, 0, height - 1);
    x = std::clamp<int64_t>(x, 0, width - 1);
    return values[static_cast<size_t>((y * width + x) * 3 + c)];
  }
};

// Between the four neighbours of each pixel's centre, rounded to a level.
Levels resized(const Levels& from, int64_t height, int64_t width) {
  Levels to{height, width, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const double v =
          (static_cast<double>(y) + 0.5) * static_cast<double>(from.height) / static_cast<double>(height) -
          0.5;
      const double u =
          (static_cast<double>(x) + 0.5) * static_cast<double>(from.width) / static_cast<double>(width) - 0.5;
      const auto top = static_cast<int64_t>(std::floor(v)), left = static_cast<int64_t>(std::floor(u));
      const double down = v - std::floor(v), right = u - std::floor(u);
      for (int64_t c = 0; c < 3; ++c) {
        const double above = from.at(top, left, c) * (1 - right) + from.at(top, left + 1, c) * right;
        const double below = from.at(top + 1, left, c) * (1 - right) + from.at(top + 1, left + 1, c) * right;
        to.values.push_back(std::round(above * (1 - down) + below * down));
      }
    }
  }
  return to;
}

Levels plainly(const Tensor& picture) {
  Levels frame{picture.size(1), picture.size(2), {}};
  for (const double value : picture.to_vector()) frame.values.push_back(std::round(value * 255));
  const Levels small = resized(frame, kSide, kSide);
  Levels bright{kSide, kSide, {}};
  for (int64_t i = 0; i < kSide * kSide * 3; ++i) {
    const int64_t channel = i % 3, in_network = 2 - channel;  // blue comes first there
    const double value = kGain[in_network] * small.values[static_cast<size_t>(i)] / 255 + kOffset[in_network];
    bright.values.push_back(std::floor(std::clamp(value, 0.0, 1.0) * 255));
  }
  return resized(bright, frame.height, frame.width);
}

}  // namespace

// A level may come out as its neighbour where a sum ends between two: float and double round those apart.
TEST_CASE("the published program's frame: shrunk to bytes, red and blue exchanged, truncated, stretched") {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{180, 320}, {31, 300}, {256, 256}}) {
    CAPTURE(height);
    Tensor picture = empty({1, height, width, 3});
    Generator generator{1};
    fill_uniform_(picture, 0, 0.5, generator);
    const Tensor result = published_video_frame(Lines(), picture, 1);
    REQUIRE(result.shape() == picture.shape());
    const std::vector<double> expected = plainly(picture).values, values = result.to_vector();
    int64_t others = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double level = values[i] * 255;
      REQUIRE(std::abs(level - std::round(level)) < 1e-3);
      REQUIRE(std::abs(level - expected[i]) < 1.001);
      others += std::abs(level - expected[i]) > 0.5 ? 1 : 0;
    }
    MESSAGE(width << "x" << height << ": " << others << " of " << expected.size() << " are the next level");
    CHECK(100 * others < static_cast<int64_t>(expected.size()));
  }
}
