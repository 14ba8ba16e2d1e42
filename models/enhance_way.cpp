#include "luxgrad/models/enhance_way.h"

#include <algorithm>
#include <limits>

#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

using detail::blocks_of;

constexpr int64_t kSmallPicture = int64_t{128} * 128;  // pixels: below, rows at a time gain nothing
constexpr int64_t kCacheBytes = int64_t{8} << 20;      // of all rows at a time
constexpr int64_t kLeastBand = 16;                     // rows, where memory is no matter
constexpr int64_t kLeastPixels = 32768;                // of a band: a layer reads all its weights for each
constexpr int64_t kLowestBand = 4;
constexpr int64_t kFewTwice = 32;                  // one column in so many may be made twice
constexpr int64_t kSampleSide = 32;                // of the picture that a program is recorded on
constexpr int64_t kMostSquare = 2048;              // side of a tile with what is read around it
constexpr int64_t kCopyPixels = int64_t{1} << 20;  // of a reduced copy: more say little more, and take time

int64_t next_multiple(int64_t size, int64_t multiple) { return blocks_of(size, multiple) * multiple; }

RowProgram program_of(const Wanted& wanted) {
  const Model& model = wanted.model;
  return RowProgram::record(wanted, next_multiple(kSampleSide, 4 * model.traits().size_multiple),
                            {model.dtype(), model.device()});
}

// What is read around a tile: all that its last bits depend on, or where it cannot be exact all that matters.
int64_t margin_of(const RowProgram& program) {
  return next_multiple(program.makes_statistics() ? program.halo_to_the_bit() : program.halo(),
                       program.grid());
}

// What a picture of that size takes as a whole: by its layers, and by their operators, which count the
// workspaces of convolutions. A program with an obstacle does not know them.
class Whole {
 public:
  Whole(const Model& model, const RowProgram& program) : liveness_(model), program_(program) {}

  int64_t bytes(int64_t height, int64_t width) const {
    const int64_t alive = liveness_.between(height, width);
    return program_.obstacle().empty() ? std::max(alive, program_.at_once_bytes(height, width)) : alive;
  }
  /// Asks the layers first, which is soon done.
  bool fits(int64_t height, int64_t width, int64_t limit) const {
    return liveness_.between(height, width) <= limit && bytes(height, width) <= limit;
  }

 private:
  Liveness liveness_;
  const RowProgram& program_;
};

int64_t whole_bytes(const Model& model, const RowProgram& program, const PaddedSize& size) {
  const int64_t picture = 3 * static_cast<int64_t>(sizeof(float)) * size.height * size.width;
  return Whole(model, program).bytes(size.tall, size.wide) +
         picture;  // and the result beside it, when it is cropped
}

// Chooses how a picture runs by a program.
class Chooser {
 public:
  Chooser(const Wanted& wanted, const RowProgram& program, const PaddedSize& size,
          const EnhanceOptions& options)
      : model_(wanted.model),
        whole_rows_(wanted.curves != nullptr),
        program_(program),
        size_(size),
        options_(options),
        limit_(options.memory > 0 ? options.memory : std::numeric_limits<int64_t>::max()),
        grid_(program.grid()),
        halo_(margin_of(program)) {}

  EnhancePlan plan() const {
    if (!program_.makes_statistics()) return squares();
    EnhancePlan plan = bands(options_.tile);
    if (options_.tile > 0 || !program_.same_everywhere() || whole_rows_) return plan;
    plan = in_cache(plan);
    if (plan.bytes <= limit_) return plan;
    EnhancePlan tiled = bands(widest_tile());
    if (tiled.bytes > limit_ && tiled.bytes > plan.bytes) return plan;
    tiled.limited = true;
    return tiled;
  }

 private:
  // Rows at a time, with tiles of about so many columns, 0 meaning all; of bands the usual, or as low as the
  // limit asks for.
  EnhancePlan bands(int64_t columns) const {
    EnhancePlan plan;
    if (columns > 0 && next_multiple(columns, grid_) < size_.wide) {
      plan.tile = next_multiple(columns, grid_);
      plan.halo = halo_;
    }
    const int64_t read = plan.tile == 0 ? size_.wide : std::min(size_.wide, plan.tile + 2 * plan.halo);
    // Few weights are soon read.
    const int64_t pixels = std::min(kLeastPixels, model_.parameter_count());
    const int64_t rows = std::max({kLowestBand, kLeastBand * pixels / kLeastPixels, pixels / read});
    const int64_t least = next_multiple(rows, kLowestBand);
    plan.band = 4 * least;
    for (;;) {
      plan.bytes = band_bytes(read, plan.band);
      const bool too_wide = row_bytes(read, plan.band) > kCacheBytes && plan.band > least;
      const bool too_much = plan.bytes > limit_ && plan.band > kLowestBand;
      if (!too_wide && !too_much) return plan;
      plan.limited |= !too_wide;
      plan.band = next_multiple(plan.band / 2, kLowestBand);
    }
  }

  // The same bands, in tiles of so many columns that their rows stay in the cache, where little is made twice
  // for that.
  EnhancePlan in_cache(EnhancePlan plan) const {
    const int64_t tiles = blocks_of(row_bytes(size_.wide, plan.band), kCacheBytes);
    if (tiles == 1 || tiles * 2 * halo_ > size_.wide / kFewTwice) return plan;
    plan.tile = next_multiple(blocks_of(size_.wide, tiles), grid_);
    plan.halo = halo_;
    plan.bytes = band_bytes(std::min(size_.wide, plan.tile + 2 * plan.halo), plan.band);
    return plan;
  }

  // Of the rows of so many columns, which are in proportion to them, and of the passes for statistics.
  int64_t row_bytes(int64_t columns, int64_t band) const {
    const int64_t rows = program_.bytes(size_.tall, size_.wide, band) / size_.wide * columns;
    if (program_.statistic_count() == 0) return rows;
    return std::max(rows, program_.statistics_bytes(size_.tall, size_.wide, band));
  }

  // With what an operator takes besides, or who cuts out the columns and puts the picture's edges around
  // them.
  int64_t band_bytes(int64_t columns, int64_t band) const {
    return row_bytes(columns, band) +
           std::max(program_.working_bytes(size_.tall, columns, band), edge_bytes(columns, 2 * band));
  }
  int64_t edge_bytes(int64_t columns, int64_t rows) const {
    const bool cut = columns<size_.wide, padded = size_.tall> size_.height || size_.wide > size_.width;
    return 3 * static_cast<int64_t>(sizeof(float)) * rows *
           ((cut ? size_.wide : 0) + (padded ? size_.width : 0));
  }

  // That keeps the limit, with low bands only where tiles were narrower than what they read besides.
  int64_t widest_tile() const {
    int64_t tile = 0;
    for (int64_t band = kLeastBand; band >= kLowestBand && tile < 2 * halo_; band /= 2) {
      const int64_t column = std::max<int64_t>(1, program_.bytes(size_.tall, size_.wide, band) / size_.wide);
      const int64_t most = std::min(limit_ / column, size_.wide);  // columns, were there nothing but rows
      tile = (most - 2 * halo_) / grid_ * grid_;
      while (tile > grid_ && band_bytes(tile + 2 * halo_, band) > limit_)
        tile = std::max(grid_, tile * 7 / 8 / grid_ * grid_);
    }
    return std::max(tile, grid_);
  }

  // Square by square, with the statistics of a reduced copy.
  EnhancePlan squares() const {
    const Whole whole(model_, program_);
    const auto copy = [&](int64_t reduction) {
      return PaddedSize(model_, std::max<int64_t>(1, size_.height / reduction),
                        std::max<int64_t>(1, size_.width / reduction));
    };
    EnhancePlan plan{.limited = true};
    if (options_.tile > 0) {
      plan.tile = next_multiple(options_.tile, grid_);
      plan.halo = halo_;
    } else {
      int64_t side = kMostSquare + grid_;
      do {
        side -= grid_;
        plan.halo = std::min(halo_, side / 4 / grid_ * grid_);
        plan.tile = side - 2 * plan.halo;
      } while (side > 4 * grid_ && square_bytes(plan) > limit_);
    }
    const int64_t pixels = size_.height * size_.width, most = std::min(size_.height, size_.width);
    plan.reduction = std::max<int64_t>(1, options_.reduction);
    while (options_.reduction == 0 && plan.reduction < most &&
           (pixels / (plan.reduction * plan.reduction) > kCopyPixels ||
            !whole.fits(copy(plan.reduction).tall, copy(plan.reduction).wide, limit_)))
      ++plan.reduction;
    plan.bytes =
        std::max(square_bytes(plan), whole.bytes(copy(plan.reduction).tall, copy(plan.reduction).wide));
    return plan;
  }

  // Of the square that reads most; what lies beyond the picture's ends is not read.
  int64_t square_bytes(const EnhancePlan& plan) const {
    const int64_t tall = most_read(plan, size_.height, size_.tall);
    const int64_t wide = most_read(plan, size_.width, size_.wide);
    return std::max(program_.at_once_bytes(tall, wide),
                    3 * static_cast<int64_t>(sizeof(float)) * tall * wide + edge_bytes(wide, tall));
  }
  static int64_t most_read(const EnhancePlan& plan, int64_t size, int64_t padded) {
    int64_t most = 0;
    for (int64_t begin = 0; begin < size; begin += plan.tile)
      most = std::max(most, read_along(begin, plan.tile, plan.halo, padded).count());
    return most;
  }

  const Model& model_;
  bool whole_rows_;
  const RowProgram& program_;
  PaddedSize size_;
  const EnhanceOptions& options_;
  int64_t limit_;
  int64_t grid_, halo_;
};

}  // namespace

PaddedSize::PaddedSize(const Model& model, int64_t height, int64_t width)
    : height(height),
      width(width),
      tall(next_multiple(height, model.traits().size_multiple)),
      wide(next_multiple(width, model.traits().size_multiple)) {}

Way way_of(const Wanted& wanted, const PaddedSize& size, const EnhanceOptions& options) {
  const Model& model = wanted.model;
  const bool forced = options.order == EnhanceOptions::by_rows || options.tile > 0;
  const bool limited = options.memory > 0;
  const bool small = size.height * size.width < kSmallPicture;
  const bool gains = model.device() == kCpu && !small;  // a device is faster with more at a time
  const bool as_whole = options.order == EnhanceOptions::whole || (!forced && !gains);  // if that fits
  Way whole;
  if (as_whole && !limited) return whole;
  RowProgram program = program_of(wanted);
  if (limited) whole.bytes = whole_bytes(model, program, size);
  const bool fits = whole.bytes <= options.memory || !limited;
  if (options.order == EnhanceOptions::whole || (as_whole && fits)) return whole;

  const std::string obstacle = !program.obstacle().empty()                         ? program.obstacle()
                               : program.makes_statistics() || options.approximate ? ""
                                                                                   : "a statistic";
  check(!forced || obstacle.empty(), "enhance: ", model.name(), " cannot run rows at a time: ", obstacle,
        " needs its picture as a whole");
  check(options.tile == 0 || program.same_everywhere(), "enhance: ", model.name(),
        " cannot run tile by tile: an operator depends on where the picture ends");
  if (!obstacle.empty() || (!forced && fits && program.statistic_count() > 0)) return whole;
  Way way{Chooser(wanted, program, size, options).plan(), {}};
  way.limited |= !fits && (small || program.statistic_count() > 0);  // else it would run as a whole
  if (!forced && limited && way.bytes > options.memory && whole.bytes < way.bytes) {  // little but weights
    whole.limited = true;
    return whole;
  }
  way.program = std::move(program);
  return way;
}

int64_t whole_bytes(const Wanted& wanted, const PaddedSize& size) {
  return whole_bytes(wanted.model, program_of(wanted), size);
}

std::string obstacle_to_rows(const Model& model) { return program_of({model}).obstacle(); }

Sight sight_of(const Model& model) {
  const RowProgram program = program_of({model});
  return {program.halo(), program.grid(), margin_of(program)};
}

}  // namespace lux
