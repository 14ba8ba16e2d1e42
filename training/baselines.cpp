#include "luxgrad/training/baselines.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace lux {
namespace {

constexpr int64_t kChannels = 3;

Tensor identity(const Tensor& picture) { return picture; }

Tensor gamma(const Tensor& picture) {
  Tensor bright = picture.clone();
  auto* const values = bright.data<float>();
  std::transform(values, values + bright.numel(), values, [](float x) { return std::cbrt(x); });
  return bright;
}

// Calls f with pointers to the first value of a channel and behind its last; they stand kChannels apart.
template <class F>
Tensor by_channel(const Tensor& picture, const F& f) {
  Tensor bright = picture.clone();
  for (int64_t c = 0; c < kChannels; ++c) f(bright.data<float>() + c, bright.numel());
  return bright;
}

Tensor auto_contrast(const Tensor& picture) {
  return by_channel(picture, [](float* values, int64_t n) {
    float smallest = values[0], largest = values[0];
    for (int64_t i = 0; i < n; i += kChannels) {
      smallest = std::min(smallest, values[i]);
      largest = std::max(largest, values[i]);
    }
    if (smallest == largest) return;
    for (int64_t i = 0; i < n; i += kChannels) values[i] = (values[i] - smallest) / (largest - smallest);
  });
}

size_t level_of(float value) {
  return static_cast<size_t>(std::floor(std::clamp(value, 0.0f, 1.0f) * 255 + 0.5f));
}

Tensor equalize(const Tensor& picture) {
  return by_channel(picture, [](float* values, int64_t n) {
    std::array<double, 256> at_most{};
    for (int64_t i = 0; i < n; i += kChannels) ++at_most[level_of(values[i])];
    const double first =
        *std::find_if(at_most.begin(), at_most.end(), [](double count) { return count > 0; });
    const int64_t pixels = n / kChannels;
    const auto all = static_cast<double>(pixels);
    if (first == all) return;
    for (size_t v = 1; v < at_most.size(); ++v) at_most[v] += at_most[v - 1];
    for (int64_t i = 0; i < n; i += kChannels) {
      const double share = (at_most[level_of(values[i])] - first) / (all - first);
      values[i] = static_cast<float>(std::round(255 * share) / 255);
    }
  });
}

struct Row {
  const char* name;
  Tensor (*of)(const Tensor&);
};
constexpr Row kRows[] = {
    {"identity", identity}, {"gamma", gamma}, {"auto_contrast", auto_contrast}, {"equalize", equalize}};

}  // namespace

std::vector<std::string> baseline_names() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.emplace_back(row.name);
  return names;
}

Tensor baseline(const std::string& name, const Tensor& picture) {
  check(picture.dtype() == DType::f32 && picture.numel() > 0 && picture.size(-1) == kChannels,
        "baseline: expected an f32 picture [..., 3], got ", picture.dtype(), " ", picture.shape());
  for (const Row& row : kRows)
    if (name == row.name) return row.of(picture);
  fail("baseline: expected identity, gamma, auto_contrast or equalize, got '", name, "'");
}

}  // namespace lux
