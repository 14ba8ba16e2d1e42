#include "luxgrad/tools/published_video.h"

#include <cmath>

#include "luxgrad/data/transforms.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

constexpr int64_t kSide = 256;

/// f of every value; with `swap`, red and blue change places.
template <class F>
Tensor mapped(const Tensor& picture, bool swap, const F& f) {
  Tensor result = empty(picture.shape());
  const float* const from = picture.data<float>();
  float* const to = result.data<float>();
  parallel_for(kCpu, picture.numel() / 3, [=](int64_t i) {
    for (int64_t c = 0; c < 3; ++c) to[3 * i + c] = f(from[3 * i + (swap ? 2 - c : c)]);
  });
  return result;
}

float rounded(float value) { return std::round(value * 255) / 255; }
float truncated(float value) { return std::floor(std::min(std::max(value, 0.0F), 1.0F) * 255) / 255; }

}  // namespace

Tensor published_video_frame(const Model& model, const Tensor& picture, double strength) {
  // The published resize rounds to bytes once, behind both passes.
  const Tensor small = mapped(resize_image(mapped(picture, true, rounded), kSide, kSide), false, rounded);
  const Tensor bright = mapped(enhance(model, small, {.strength = strength}), true, truncated);
  return mapped(resize_image(bright, picture.size(1), picture.size(2)), false, rounded);
}

}  // namespace lux
