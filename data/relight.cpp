#include "luxgrad/data/relight.h"

#include <algorithm>
#include <cmath>

namespace lux {
namespace {

constexpr double kLargestGain = 3;

void check_photo(const char* name, const Tensor& photo) {
  check(photo.dtype() == DType::f32 && photo.shape().rank() == 3 && photo.size(2) == 3, name,
        ": expected an f32 picture [H, W, 3], got ", photo.dtype(), " ", photo.shape());
}

// A range of one value draws nothing, so that it leaves the numbers that follow as they were.
double drawn_from(const double (&range)[2], Generator& generator) {
  return range[0] < range[1] ? generator.uniform(range[0], range[1]) : range[0];
}

double log_uniform(const double (&range)[2], Generator& generator) {
  return range[0] * std::pow(range[1] / range[0], generator.uniform());
}

// All channels of a pixel times one factor, chosen so that the largest channel follows a curve that is gain·v
// for small v and reaches 1 at v = 1: hue and saturation stay.
double shoulder(double brightest, double gain) {
  return brightest <= 0 ? gain : gain / (1 + (gain - 1) * brightest);
}

}  // namespace

double srgb_to_linear(double value) {
  return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
}

double linear_to_srgb(double value) {
  return value <= 0.0031308 ? value * 12.92 : 1.055 * std::pow(value, 1 / 2.4) - 0.055;
}

Tensor deepen(const Tensor& photo, double black) {
  check_photo("deepen", photo);
  check(black >= 0 && black < 1, "deepen: expected a black in [0, 1), got ", black);
  Tensor deep = empty(photo.shape());
  const auto* const from = photo.data<float>();
  auto* const to = deep.data<float>();
  for (int64_t i = 0; i < photo.numel(); i += 3) {
    const auto brightest = static_cast<double>(std::max({from[i], from[i + 1], from[i + 2]}));
    const double factor = brightest <= black ? 0 : (brightest - black) / ((1 - black) * brightest);
    for (int c = 0; c < 3; ++c) to[i + c] = static_cast<float>(factor * static_cast<double>(from[i + c]));
  }
  return deep;
}

Tensor darken(const Tensor& photo, const RelightOptions& options, Generator& generator) {
  check_photo("darken", photo);
  const auto& stops = generator.uniform() < options.dark_share ? options.dark_stops : options.dim_stops;
  const double exposure = std::exp2(-generator.uniform(stops[0], stops[1]));
  double gain[3];
  for (double& g : gain) g = exposure * (1 + options.white_balance * generator.normal());
  const double shot = log_uniform(options.shot_variance, generator);
  const double read = log_uniform(options.read_deviation, generator);
  const double gamma = drawn_from(options.gamma, generator);

  Tensor dark = empty(photo.shape());
  const auto* const from = photo.data<float>();
  auto* const to = dark.data<float>();
  for (int64_t i = 0; i < photo.numel(); ++i) {
    const double scene = srgb_to_linear(static_cast<double>(from[i]));
    const double light = gain[i % 3] * (gamma == 1 ? scene : std::pow(scene, gamma));
    const double seen = light + std::sqrt(shot * light + read * read) * generator.normal();
    to[i] = static_cast<float>(std::round(255 * linear_to_srgb(std::clamp(seen, 0.0, 1.0))) / 255);
  }
  return dark;
}

Tensor expose(const Tensor& photo, double mean) {
  check_photo("expose", photo);
  const auto* const from = photo.data<float>();
  double sum = 0;
  for (int64_t i = 0; i < photo.numel(); ++i) sum += static_cast<double>(from[i]);
  const double present = std::max(sum / static_cast<double>(photo.numel()), 1e-3);
  const double gain = std::clamp(srgb_to_linear(mean) / srgb_to_linear(present), 1.0, kLargestGain);

  Tensor exposed = empty(photo.shape());
  auto* const to = exposed.data<float>();
  for (int64_t i = 0; i < photo.numel(); i += 3) {
    double light[3];
    for (int c = 0; c < 3; ++c) light[c] = srgb_to_linear(static_cast<double>(from[i + c]));
    const double factor = shoulder(*std::max_element(light, light + 3), gain);
    for (int c = 0; c < 3; ++c)
      to[i + c] = static_cast<float>(linear_to_srgb(std::min(1.0, light[c] * factor)));
  }
  return exposed;
}

}  // namespace lux
