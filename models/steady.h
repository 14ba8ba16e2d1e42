// Films without flicker: a network looks at every frame anew, and answers noise and flicker of the film with
// a brightness that jumps. Here the brightness of its answers is smoothed in time, until a new scene begins.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "luxgrad/models/enhance.h"
#include "luxgrad/models/flicker.h"

namespace lux {

/// Flicker indices (models/flicker.h) of the film, of the network's answers, and of what was made of them.
struct FlickerReport {
  double input = 0, before = 0, after = 0;
  int64_t scenes = 0;
};

class SteadyEnhancer {
 public:
  /// `smoothing` from 0 (each frame for itself, to the bit as `enhance`) to below 1: the weight of the past
  /// in the exponential mean that the brightness follows. Throws Error for other values. The model must
  /// outlive this, and stay the same function.
  SteadyEnhancer(const Model& model, double smoothing, const EnhanceOptions& options = {});

  /// The next frame [1, H, W, 3] of the film, enhanced.
  ///
  /// The brightness is corrected by one step of Zero-DCE's curve with one parameter for the whole frame,
  /// which keeps black and white in place and every order of values. The first frame of a scene is what the
  /// network makes of it, to the bit.
  Tensor next(const Tensor& frame) { return steadied(frame, answer(frame)); }

  /// What the network makes of a frame [1, H, W, 3], and `next` of that. The first changes nothing that the
  /// second does, so that an answer may be had again, in another precision or on another device.
  Tensor answer(const Tensor& frame);
  Tensor steadied(const Tensor& frame, const Tensor& answer);

  /// How the next answers are made; throws as the first.
  const EnhanceOptions& options() const { return options_; }
  void set_options(const EnhanceOptions& options) {
    options_ = options;
    enhancer_.reset();
  }

  FlickerReport report() const;

 private:
  const Model& model_;
  double smoothing_;
  EnhanceOptions options_;
  std::optional<Enhancer> enhancer_;              // of frames as large as the last one
  std::vector<double> last_input_, last_answer_;  // brightness of the blocks
  std::array<double, 2>
      correction_{};  // logarithms of the factors to the last answer's dark and bright places
  FlickerIndex input_, before_, after_;
  int64_t scenes_ = 0;
};

}  // namespace lux
