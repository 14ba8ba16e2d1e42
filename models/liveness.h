// How little memory a network can run in: the best peak that its layers allow.
#pragma once

#include "luxgrad/models/model.h"

namespace lux {

/// Side of the small pictures that networks are followed on, and of nothing else: every stage of every
/// network halves it without a rest.
inline constexpr int64_t kSmallSide = 16;

/// Bytes at the steps of a run on so many pixels.
struct BytesAt {
  int64_t pixels;
  std::vector<int64_t> bytes;
};

/// The bytes of every step at `pixels`, where each is a constant plus a share of the area, from two runs.
/// Throws Error where they have not the same steps.
std::vector<int64_t> bytes_at(int64_t pixels, const BytesAt& small, const BytesAt& large);

/// Follows the tensors of two runs on small pictures; what is alive at a layer is a constant plus a share of
/// the area.
class Liveness {
 public:
  explicit Liveness(const Model& model);

  /// Bytes that one inference on [pictures, height, width, 3] needs at its worst layer when every tensor is
  /// freed after its last reader: the parameters, the pictures, the layer's inputs and result, and what is
  /// read later. Workspaces inside operators are not counted.
  int64_t optimum(int64_t height, int64_t width, int64_t pictures = 1) const {
    return parameters_ + pictures * most(height, width, {});
  }
  /// The same besides the parameters, but with the largest of those workspaces: a layer's weights as
  /// convolutions lay them anew. On small pictures they are more than all the rest.
  int64_t between(int64_t height, int64_t width) const { return most(height, width, laid_anew_); }

 private:
  /// `besides`: what each operator takes more than is alive, none where empty.
  int64_t most(int64_t height, int64_t width, const std::vector<int64_t>& besides) const;

  int64_t multiple_, parameters_ = 0, pixel_bytes_ = 0;
  BytesAt small_, large_;
  std::vector<int64_t> laid_anew_;  // bytes at each operator
};

}  // namespace lux
