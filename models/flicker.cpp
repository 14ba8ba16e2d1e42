#include "luxgrad/models/flicker.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

constexpr int64_t kAcross = 32, kDown = 18;

// A cut leaves about 1 (two scenes share nothing), motion, noise and flicker less than a third.
constexpr double kCutDifference = 0.35;
constexpr double kCutRatio = 2;
constexpr double kBlack = 1.0 / 255;

double mean_of(const std::vector<double>& light) {
  double sum = 0;
  for (const double value : light) sum += value;
  return light.empty() ? 0 : sum / static_cast<double>(light.size());
}

}  // namespace

std::vector<double> block_light(const Tensor& picture) {
  const int64_t height = picture.size(1), width = picture.size(2);
  const int64_t down = std::min(kDown, height), across = std::min(kAcross, width);
  const float* const values = picture.data<float>();
  std::vector<double> light(static_cast<size_t>(down * across));
  parallel_rows(kCpu, down, height * width * 3 / down, [&](const Team&, int64_t row) {
    const int64_t top = row * height / down, bottom = (row + 1) * height / down;
    for (int64_t column = 0; column < across; ++column) {
      const int64_t left = column * width / across, right = (column + 1) * width / across;
      double sum = 0;
      for (int64_t y = top; y < bottom; ++y) {
        const float* pixel = values + (y * width + left) * 3;
        for (int64_t x = left; x < right; ++x, pixel += 3)
          sum += 0.299 * static_cast<double>(pixel[0]) + 0.587 * static_cast<double>(pixel[1]) +
                 0.114 * static_cast<double>(pixel[2]);
      }
      light[static_cast<size_t>(row * across + column)] =
          sum / static_cast<double>((bottom - top) * (right - left));
    }
  });
  return light;
}

bool is_cut(const std::vector<double>& before, const std::vector<double>& after) {
  const double first = mean_of(before) + kBlack, second = mean_of(after) + kBlack, ratio = second / first;
  if (ratio > kCutRatio || ratio < 1 / kCutRatio) return true;
  double difference = 0;
  for (size_t i = 0; i < after.size(); ++i) difference += std::abs(after[i] - ratio * before[i]);
  return difference > kCutDifference * second * static_cast<double>(after.size());
}

void FlickerIndex::add(const std::vector<double>& light, bool cut) {
  if (!cut && last_.size() == light.size()) {
    for (size_t i = 0; i < light.size(); ++i) {
      change_ += std::abs(light[i] - last_[i]);
      light_ += (light[i] + last_[i]) / 2;
    }
  }
  last_ = light;
}

double FlickerIndex::percent() const { return light_ > 0 ? 100 * change_ / light_ : 0; }

}  // namespace lux
