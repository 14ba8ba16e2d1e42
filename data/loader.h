// The loader: batches prepared in the background. What a batch holds is a function of (seed, epoch, position)
// alone, so a training can stop anywhere and go on as if it had not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "luxgrad/data/dataset.h"
#include "luxgrad/data/relight.h"
#include "luxgrad/data/transforms.h"

namespace lux {

/// How pictures are turned at random: not at all; flipped up and down, left and right; by quarters and
/// flipped.
enum class Turns : uint8_t { none, flips, all };

/// Blends of pictures, and the same blends of their references (Zhang et al., ICLR 2018, arXiv:1710.09412):
/// λ·picture + (1 − λ)·another of the batch, λ from a Beta(beta, beta) distribution.
struct MixUp {
  double beta = 1.2;
  int64_t first_epoch = 0;  ///< epochs before it are not mixed
  bool each = false;        ///< a λ for each picture instead of one for the batch
  bool or_not = false;      ///< every other batch, by chance, stays as it is
};

/// Brightness that a dark picture alone is multiplied by, from U(low, high); it stays within [0, 1].
struct Gain {
  double low = 0.8, high = 1.2;
};

struct LoaderOptions {
  int64_t batch_size = 8;
  int64_t size = 256;  ///< side of the squares, in pixels; 0: whole pictures, which must be of one size
  ResizeImageOptions resize{};
  bool shuffle = true;       ///< each epoch in another order; else by name
  bool replacement = false;  ///< each picture of an epoch is drawn anew from all
  bool drop_last = false;    ///< leave out the last, smaller batch of an epoch
  /// Random squares of the pictures, the same ones of their references, instead of whole pictures resized.
  /// Pictures smaller than a square are enlarged to one.
  bool random_squares = false;
  Turns turns = Turns::none;
  /// Side of a square of each dark picture, at a random place, that becomes z·dark + (1 − z)·reference with z
  /// from U(0, 1); 0: none.
  int64_t patch = 0;
  std::optional<MixUp> mix_up = std::nullopt;
  std::optional<Gain> gain = std::nullopt;
  /// Random squares of normal photos, each with a dark copy made of it; references of the list are not read.
  std::optional<RelightOptions> relight = std::nullopt;
  double exposure = 0.48;  ///< with `relight`: the mean that photos are exposed to (`expose`)
  /// With `relight`: larger photos are shrunk to it first, which removes their noise.
  int64_t longest_side = 768;
  int64_t repeats = 1;      ///< with random squares: squares of each picture in an epoch
  bool every_epoch = true;  ///< chance decides anew in every epoch; else as in the first
  uint64_t seed = 0;
  int64_t cache_bytes = int64_t{1} << 30;  ///< of prepared pictures; beyond it they are read again each epoch
  ImageLimits limits{};
};

/// Bytes of tensors that a loader holds at most besides the batch that it gave: of prepared pictures, which
/// have `prepared` bytes in all, those that are kept; and batches of `batch` bytes that wait or are being
/// made.
int64_t loader_bytes(const LoaderOptions& options, int64_t prepared, int64_t batch);

struct Batch {
  Tensor low;                      ///< [N, size, size, 3] f32 in [0, 1]
  Tensor high;                     ///< the same shape, or undefined without references
  std::vector<std::string> names;  ///< one per picture
  int64_t epoch = 0;
  int64_t index = 0;  ///< within the epoch
};

class Loader {
 public:
  /// Throws Error for an empty list, options out of range, or fewer pictures than a batch when the last one
  /// is dropped.
  Loader(PictureList pictures, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches_per_epoch() const;
  /// The next batch is number `index` of epoch `epoch`.
  void seek(int64_t epoch, int64_t index);
  /// The next batch; after the last of an epoch comes the first of the next. Throws what preparing it threw,
  /// such as FileException.
  Batch next();
  /// The first picture of the list as a batch of one, always the same: to watch a training by. Without
  /// `every_epoch`, as it is in every batch.
  Batch sample() const;

 private:
  class Worker;
  std::unique_ptr<Worker> worker_;
};

}  // namespace lux
