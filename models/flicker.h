// Flicker, measured: how much the brightness of places changes from one frame of a scene to the next.
#pragma once

#include <cstdint>
#include <vector>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Mean luma (BT.601) of each of at most 32 x 18 equal blocks of a picture [1, H, W, 3]: what is left of a
/// frame when noise and small motion are averaged away.
std::vector<double> block_light(const Tensor& picture);

/// Whether a new scene begins between two frames: their blocks, made equally bright, have little in common,
/// or one frame is more than twice as bright as the other.
bool is_cut(const std::vector<double>& before, const std::vector<double>& after);

/// The mean absolute brightness difference MABD (Jiang & Zheng, Learning to See Moving Objects in the Dark,
/// ICCV 2019) between consecutive frames, of blocks instead of pixels, over all pairs without a cut between
/// them, in percent of the mean brightness.
class FlickerIndex {
 public:
  /// The next frame's blocks; `cut` where a scene begins with it.
  void add(const std::vector<double>& light, bool cut);
  /// 0 before two frames of one scene.
  double percent() const;

 private:
  std::vector<double> last_;
  double change_ = 0, light_ = 0;
};

}  // namespace lux
