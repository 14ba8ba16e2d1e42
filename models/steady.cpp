#include "luxgrad/models/steady.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

constexpr double kBlack = 1.0 / 255;

/// Of the darker and the brighter half of the blocks the median of log(after/before), which is how much
/// brighter they are, whatever moves in them, and their mean.
struct Change {
  std::array<double, 2> log_ratio{}, level{};
};

Change change_of(const std::vector<double>& before, const std::vector<double>& after) {
  std::vector<std::pair<double, double>> blocks;  // level, change
  blocks.reserve(after.size());
  for (size_t i = 0; i < after.size(); ++i)
    blocks.emplace_back(after[i], std::log((after[i] + kBlack) / (before[i] + kBlack)));
  std::sort(blocks.begin(), blocks.end());
  Change change;
  const std::span<std::pair<double, double>> all(blocks);
  for (size_t half = 0; half < 2 && !all.empty(); ++half) {
    // Of an odd number, and of one, both halves have the middle.
    const auto part = half == 0 ? all.first((all.size() + 1) / 2) : all.subspan(all.size() / 2);
    const size_t middle = part.size() / 2;
    std::vector<double> ratios;
    ratios.reserve(part.size());
    for (const auto& [level, log_ratio] : part) {
      change.level[half] += level / static_cast<double>(part.size());
      ratios.push_back(log_ratio);
    }
    std::nth_element(ratios.begin(), ratios.begin() + static_cast<int64_t>(middle), ratios.end());
    change.log_ratio[half] = ratios[middle];
  }
  return change;
}

/// y·exp(c(y)) of every value, with c through what dark and bright places need, and 0 at white.
Tensor corrected(const Tensor& y, const std::array<double, 2>& logs, const std::array<double, 2>& levels) {
  // Far enough apart, and flat enough, that every order of values is kept.
  const double high = std::clamp(levels[1], 0.1, 0.9), low = std::clamp(levels[0], 0.0, high - 0.1);
  const double bright = std::clamp(logs[1], (high - 1) / 2, (1 - high) / 2);
  const double dark = std::clamp(logs[0], bright - (high - low), bright + (high - low));
  const auto f = [&](double value) { return static_cast<float>(value); };
  const float d = f(dark), b = f(bright), l = f(low), h = f(high);
  Tensor result = empty(y.shape());
  const float* const from = y.data<float>();
  float* const to = result.data<float>();
  parallel_for(kCpu, y.numel(), [=](int64_t i) {
    const float v = from[i];
    const float c = v < l ? d : v < h ? d + (b - d) * (v - l) / (h - l) : b * (1 - v) / (1 - h);
    to[i] = v * std::exp(c);
  });
  return result;
}

}  // namespace

SteadyEnhancer::SteadyEnhancer(const Model& model, double smoothing, const EnhanceOptions& options)
    : model_(model), smoothing_(smoothing), options_(options) {
  check(smoothing >= 0 && smoothing < 1, "steady: expected a smoothing from 0 to below 1, got ", smoothing);
}

Tensor SteadyEnhancer::answer(const Tensor& frame) {
  const KeepDerivedWeights keep(KeepDerivedWeights::kEverySize);  // all frames ask for the same
  if (!enhancer_ || !enhancer_->takes(frame)) {
    check(frame.shape().rank() == 4, "steady: expected a frame [1, H, W, 3], got ", frame.shape());
    enhancer_.emplace(model_, frame.size(1), frame.size(2), options_, frame.dtype());
  }
  return (*enhancer_)(frame);
}

Tensor SteadyEnhancer::steadied(const Tensor& frame, const Tensor& answer) {
  const NoGrad no_grad;
  std::vector<double> light = block_light(frame);
  const bool cut = light.size() != last_input_.size() || is_cut(last_input_, light);
  if (cut) ++scenes_;
  input_.add(light, cut);
  last_input_ = std::move(light);

  light = block_light(answer);
  before_.add(light, cut);
  // With L the logarithm of the answers' brightness, and S its exponential mean S <- s·S + (1 - s)·L, the
  // correction S - L follows from the one before and the change of L alone.
  const Change change = cut ? Change{} : change_of(last_answer_, light);
  for (size_t i = 0; i < 2; ++i)
    correction_[i] = cut ? 0 : smoothing_ * (correction_[i] - change.log_ratio[i]);
  last_answer_ = std::move(light);
  // As much of it as of the enhancement.
  const std::array<double, 2> logs = {options_.strength * correction_[0], options_.strength * correction_[1]};
  const bool same = logs[0] == 0 && logs[1] == 0;
  const Tensor bright = same ? answer : corrected(answer, logs, change.level);
  after_.add(same ? last_answer_ : block_light(bright), cut);
  return bright;
}

FlickerReport SteadyEnhancer::report() const {
  return {input_.percent(), before_.percent(), after_.percent(), scenes_};
}

}  // namespace lux
