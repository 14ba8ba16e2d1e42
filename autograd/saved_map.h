// Maps that gradients need, in half of the memory: what operators keep until then is most of what a training
// step takes, and gradients gain little by more than 8 bits of it.
#pragma once

#include "luxgrad/autograd/node.h"

namespace lux {

/// While it lives, where it is `on`, operators of this thread on the CPU keep maps of f32 as bf16 until their
/// gradients are computed: rounded to nearest, 2^-9 relative. Their results are the same, bit for bit. What
/// is computed again on the way back (autograd/recompute.h) is kept so if one lives then.
class NarrowMaps {
 public:
  explicit NarrowMaps(bool on = true);
  ~NarrowMaps();
  NarrowMaps(const NarrowMaps&) = delete;
  NarrowMaps& operator=(const NarrowMaps&) = delete;

 private:
  bool before_;
};

/// A `Saved` for a map [N, H, W, C] that an operator reads or writes: where a `NarrowMaps` lives, one of f32
/// with at least 8 channels is kept as bf16, one copy for all that keep it. Pictures and means over pictures
/// stay as they are: they are small, and losses live on small differences.
class SavedMap {
 public:
  explicit SavedMap(const Tensor& map);
  /// The captured map in its own dtype: for as long as it is held, where it was kept as bf16. Throws Error
  /// when what was kept was changed in place since.
  Tensor get() const;
  /// The same as it was kept.
  const Tensor& kept() const { return kept_.get(); }

 private:
  Saved kept_;
  DType dtype_;
};

}  // namespace lux
