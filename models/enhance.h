// From a picture to its enhancement, whatever its size.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "luxgrad/models/curve_model.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux {

struct EnhanceOptions {
  double strength = 1;  ///< how much of the enhancement, 0 to 1
  /// How the network runs: rows at a time where it can and the picture is large, always whole, or always rows
  /// at a time. The results are the same bits. On a device it is whole unless `memory` or `tile` want it
  /// otherwise; the rows go there and come back one after the other.
  enum Order { automatic, whole, by_rows } order = automatic;
  /// The most bytes that the network may hold between picture and result; 0: no limit. Bands get narrower to
  /// keep it, then columns run tile by tile; statistics of the whole picture take passes of their own.
  int64_t memory = 0;
  /// Columns of the result that are made at a time, or side of its squares, rounded up to the network's grid;
  /// 0: all, or as many as `memory` allows, or as the cache holds where a network hardly looks beyond them.
  int64_t tile = 0;
  /// Where a network needs statistics that no pass makes, and the picture as a whole exceeds `memory` or is
  /// cut into tiles: take them from a reduced copy, and make the result square by square. Only then is it not
  /// that of the whole, to the bit.
  bool approximate = false;
  /// How many times smaller that copy is, in height and width; 0: as little as memory and time allow.
  int64_t reduction = 0;
};

/// How a picture [1, height, width, 3] runs under some options.
struct EnhancePlan {
  int64_t band = 0;  ///< rows of the result made at a time; 0: those of a tile, or all
  int64_t tile = 0;  ///< columns of the result made at a time; 0: all
  int64_t halo = 0;  ///< pixels read on each side of a tile: all that matter, or a quarter of what is read
  int64_t reduction = 0;  ///< of the copy that statistics are taken from; 0: they are the picture's
  /// What is held at once besides the parameters: what the network keeps between picture and result, and both
  /// of them where it needs its picture as a whole.
  int64_t bytes = 0;
  bool limited = false;  ///< with more memory it would be another
};

/// Throws as `enhance`, but not OutOfMemory: where nothing keeps `options.memory`, it is the way that needs
/// least.
EnhancePlan enhance_plan(const Model& model, int64_t height, int64_t width,
                         const EnhanceOptions& options = {});

/// The options with a limit of at most about half of what such a picture takes under `options`, or the least
/// that a way needs; none where no way needs less, or where memory does not suffice to find out. For what has
/// run out of memory. Throws Error as `enhance_plan`.
std::optional<EnhanceOptions> in_half_the_memory(const Model& model, int64_t height, int64_t width,
                                                 const EnhanceOptions& options);

/// picture [N, H, W, 3] in [0, 1] -> the same shape. Pads to the network's multiple by mirroring, runs it
/// without recording a graph, crops. Throws Error for another shape, an empty picture, a strength outside
/// [0, 1], or `by_rows` or `tile` where the network needs its picture as a whole; OutOfMemory, before any
/// work, where more than `options.memory` is needed.
Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options = {});

/// Writes the rows of a picture from row `first` on into `rows` [1, n, width, 3], f32 in [0, 1].
using RowSource = FunctionRef<void(int64_t first, const Tensor& rows)>;
/// Takes the part of the result [1, n, m, 3] that begins at `row` and `column`.
using PartSink = FunctionRef<void(int64_t row, int64_t column, const Tensor& part)>;

/// The same for pictures of one size, such as frames of a film: how they run is found out once. The model
/// must outlive it, and stay the same function.
class Enhancer {
 public:
  /// For pictures [N, height, width, 3] of `dtype`. Throws as `enhance`, but not OutOfMemory.
  Enhancer(const Model& model, int64_t height, int64_t width, const EnhanceOptions& options = {},
           DType dtype = DType::f32);
  /// For the curve parameters [1, height, width, C] of pictures of f32 instead, of which `rows` hands over
  /// whole rows, from the top down. `options.strength` and `options.tile` do not matter.
  static Enhancer of_curves(const CurveModel& model, int64_t height, int64_t width,
                            const EnhanceOptions& options = {});
  ~Enhancer();
  Enhancer(Enhancer&& other) noexcept;
  Enhancer& operator=(Enhancer&& other) noexcept;

  /// As `enhance_plan`.
  EnhancePlan plan() const;
  /// Whether one that is made now, for the same model and pictures [N, height, width, 3] under `options`,
  /// would have the same plan: pictures of one size can share this one, though each leaves other memory to
  /// it.
  bool serves(int64_t height, int64_t width, const EnhanceOptions& options) const;

  bool takes(const Tensor& picture) const;
  /// Throws Error for a picture that it does not take and where curves are wanted, and OutOfMemory as
  /// `enhance`.
  Tensor operator()(const Tensor& picture) const;

  /// The same, to the bit, for a picture [1, height, width, 3] of f32 that nobody holds as one tensor:
  /// `source` is asked for its rows, some of them several times, and `sink` gets the result tile by tile,
  /// from the left, each from the top down. Where the network runs rows at a time, memory does not grow with
  /// the height. Throws as `enhance`, and Error for another `dtype`.
  void rows(RowSource source, PartSink sink) const;

 private:
  struct Plan;
  explicit Enhancer(std::unique_ptr<const Plan> plan);
  const Plan& affordable() const;
  std::unique_ptr<const Plan> plan_;
};

/// `Enhancer::rows` of one picture.
void enhance_rows(const Model& model, int64_t height, int64_t width, RowSource source, PartSink sink,
                  const EnhanceOptions& options = {});

/// The first operator of `model` that keeps it from running rows at a time; empty where none does.
std::string obstacle_to_rows(const Model& model);

/// How far a network looks, and how it is cut into tiles; in pixels, found from its operators.
struct Sight {
  int64_t halo;    ///< what a pixel of the result is made of is at most so far away, statistics aside
  int64_t grid;    ///< tiles begin at multiples of it
  int64_t margin;  ///< pixels that are read around a tile
};
Sight sight_of(const Model& model);

}  // namespace lux
