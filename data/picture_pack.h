// Pairs of pictures of one size in one file: the NPZ archive that the GAN's authors train on. `arr_0` holds
// the references and `arr_1` the dark pictures, both f32 [N, H, W, 3] from 0 to 255.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "luxgrad/data/dataset.h"
#include "luxgrad/data/result.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux {

class PicturePack {
 public:
  /// `low` and `high` [N, H, W, 3], u8 or f32, from 0 to 255.
  PicturePack(Tensor low, Tensor high) : low_(std::move(low)), high_(std::move(high)) {}

  int64_t size() const { return low_.size(0); }
  int64_t height() const { return low_.size(1); }
  int64_t width() const { return low_.size(2); }
  /// Picture `index` [1, H, W, 3] f32 in [0, 1].
  Tensor low(int64_t index) const;
  Tensor high(int64_t index) const;

 private:
  Tensor low_, high_;
};

/// The pack in the bytes of an .npz file, arrays of any element type that NPY files may have; whole numbers
/// are kept as bytes. Refuses other arrays, other shapes and values outside 0 … 255.
Result<PicturePack> parse_picture_pack(std::span<const uint8_t> bytes);

/// Resizes every pair to one size (the nearest pixel, as the authors' script does), rounds to 8 bits and
/// writes the archive at once or not at all. `each` is told the name of each pair. Returns the number of
/// bytes. Throws FileException for unreadable pictures and pairs of two sizes, and Error for an empty list
/// and for more than 4 GiB of pictures.
int64_t save_picture_pack(const std::string& path, const PictureList& pairs, int64_t height, int64_t width,
                          FunctionRef<void(const std::string&)> each);

}  // namespace lux
