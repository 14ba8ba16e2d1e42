// The seam between the library, compiled for every processor, and the hot code, compiled once per
// instruction set (tiles.cpp, winograd_points.cpp and roofs.cpp for all of them, pairs.cpp and
// winograd_fixed.cpp for those with products of 16 bits): plain structs and a C table of functions. Nothing
// here has code, so nothing compiled for one instruction set can be linked into another.
#pragma once

#include <cstdint>
#include <string_view>

namespace lux::cpu {

/// One of several pictures [N, H, W, channels] that are read or written as their concatenation.
struct Part {
  void* data;  // null: not wanted (only where written)
  int64_t channels;
};

struct Pictures {
  const Part* parts;
  int64_t count;
  int64_t H, W;
};

/// out[r, q, k] = activation(bias[k] + sum over i, j, c of source[r·stride + i - top, q·stride + j - left, c]
/// · weight[k, i, j, c]), written to pixel (row + r·step, column + q·step) of the target. Forward and data
/// gradient are both of this form.
struct Convolution {
  Pictures source, target;
  int64_t kH, kW, stride = 1, top, left;
  int64_t depth, width;  // channels per group of source and target
  int64_t row = 0, column = 0, step = 1;
  const void* weights = nullptr;  // as pack_weights leaves them
  const void* bias = nullptr;     // in the arithmetic type, or null
  uint8_t activation = 0;         // lux::Activation, none
  double slope = 0;
  int64_t groups = 1;
  const void* skip = nullptr;  // added to the outputs, or null; as wide as the target, which is one part
  bool doubled = false;        // transposed with a stride of 2, as only Winograd's kernels take it
};

/// Where the weights of a group stand: strides of (k, i, j, c) in elements, of any sign; those of the next
/// stand `group` elements further.
struct Weights {
  const void* data;
  int64_t k, i, j, c;
  int64_t group = 0;
};

/// A rectangle of outputs of one picture and one group; for depthwise convolutions `group` is the first of up
/// to `depthwise_channels` channels.
struct Tile {
  int64_t n, group, row, rows, column, columns;
};

/// A share of the weights: `width` output channels from `k` on and `depth` input channels from `c` on, of one
/// group.
struct WeightBlock {
  int64_t group, k, width, c, depth;
};

/// One way to take the products of a convolution. Scratch memory is uninitialised and belongs to one task;
/// sizes are bytes.
struct Products {
  int64_t columns;  // tiles are best as wide as a multiple of this
  /// Packs the weights of one group; slices 0 to slices - 1 may run at the same time.
  int64_t (*packed_bytes)(const Convolution&);
  void (*pack)(const Convolution&, const Weights&, int64_t slice, int64_t slices, void* packed);
  int64_t (*scratch)(const Convolution&, const Tile&);
  void (*convolve)(const Convolution&, const Tile&, void* scratch);
};

/// The functions for one storage type. For depthwise convolutions `depth` is 1, `width` the number of
/// channels, and a tile has at most `Isa::depthwise_channels` of them.
struct Tiles {
  Products products;

  int64_t (*packed_depthwise_bytes)(const Convolution&);
  void (*pack_depthwise)(const Convolution&, const Weights&, void* packed);
  int64_t (*depthwise_scratch)(const Convolution&, const Tile&);
  void (*depthwise)(const Convolution&, const Tile&, void* scratch);

  /// A depthwise convolution and the pointwise one behind it, which alone reads it, row by row of a tile of
  /// at least `separable_columns` columns, where it takes them. What is between the two exists nowhere else:
  /// neither the target of the first nor the source of the second is looked at.
  int64_t separable_columns;
  bool (*separable_takes)(const Convolution& filter, const Convolution& mix);
  int64_t (*separable_scratch)(const Convolution& filter, const Convolution& mix, const Tile&);
  void (*separable)(const Convolution& filter, const Convolution& mix, const Tile&, void* scratch);

  /// Weight gradients of one tile, added to `sums` (cleared by the caller). Source and target are the input
  /// and the gradient of the output. Element (k, i, j, c) of the block is sums[(i·rows + k)·run + j·depth +
  /// c].
  int64_t (*weight_rows)(const WeightBlock&);
  int64_t (*weight_run)(const Convolution&, const WeightBlock&);
  int64_t (*weight_scratch)(const Convolution&, const WeightBlock&, const Tile&);
  void (*weight_gradient)(const Convolution&, const WeightBlock&, const Tile&, void* sums, void* scratch);

  /// The same for depthwise convolutions; element (i, j, c) is sums[(i·kW + j)·Isa::depthwise_channels + c].
  void (*depthwise_weight_gradient)(const Convolution&, const Tile&, void* sums, void* scratch);
};

/// Outputs in tiles of 4x4, numbered row by row through all pictures: `count` of them from `first` on.
struct TileRange {
  int64_t first, count;
};

struct ChannelRange {
  int64_t begin, end;
};

/// Convolutions of f32 by Winograd's way: source and weights are carried to points, multiplied there point by
/// point, and the sums are carried back. 3x3 with stride 1 by F(4x4, 3x3); and, where it is `doubled`, 3x3
/// and 4x4 transposed with that stride: `top` and `left` are zeros of the convolution whose gradient it is,
/// both odd or both even (winograd_geometry.h). Channels of some tiles at the points, of all groups, are an
/// array of `points_bytes`, sums one of `sums_bytes`. Scratch memory is as for Tiles. Different channels, and
/// different products, may run at the same time.
struct Winograd {
  int64_t (*products)(const Convolution&);    // of a tile, for a pair of channels
  int64_t (*tile_bytes)(const Convolution&);  // of a tile at the points
  int64_t (*packed_bytes)(const Convolution&);
  void (*pack)(const Convolution&, const Weights&, int64_t slice, int64_t slices, void* packed);
  int64_t (*points_bytes)(const Convolution&, int64_t tiles);
  int64_t (*sums_bytes)(const Convolution&, int64_t tiles);
  int64_t (*scratch)(const Convolution&, const TileRange&);

  /// What source_to_points has to know of all channels of the tiles in `some`, counted from the first of the
  /// range: null where it is nothing.
  void (*measure)(const Convolution&, const TileRange&, const TileRange& some, void* source, void* scratch);
  void (*source_to_points)(const Convolution&, const TileRange&, const ChannelRange&, void* source,
                           void* scratch);
  /// sums = source · weights for one of the products.
  void (*multiply)(const Convolution&, const TileRange&, int64_t product, const void* source, void* sums);
  /// Writes the target with bias and activation.
  void (*points_to_target)(const Convolution&, const TileRange&, const ChannelRange&, const void* source,
                           const void* sums, void* scratch);

  /// The weight gradient, of f32 with stride 1 only; the target is the gradient of the output.
  void (*target_to_points)(const Convolution&, const TileRange&, const ChannelRange&, void* target,
                           void* scratch);
  int64_t (*weight_sums_bytes)(const Convolution&);
  /// sums += targetᵀ · source at one point; cleared by the caller.
  void (*add_products)(const Convolution&, const TileRange&, int64_t point, const void* source,
                       const void* target, void* sums);
  /// gw[k, 3, 3, depth] for the channels `k` of the target, from `shares` sums one behind another.
  void (*points_to_weights)(const Convolution&, const ChannelRange& k, const void* sums, int64_t shares,
                            float* gw);
};

/// Measures of one core.
struct Roofs {
  /// Runs `rounds` rounds of independent products with sums, from and to 32 `values`; returns how many
  /// operations these were, a product with its sum being two.
  double (*multiply_add)(int64_t rounds, float* values);
  /// The sum of `count` values, in no particular order; up to the last 128 may be left out.
  float (*read)(const float* from, int64_t count);
};

/// Convolutions of f32 by products of bf16, two of which an instruction adds to a sum of f32 (pairs.cpp).
struct Pairs {
  /// Every factor is the sum of two bf16, and of the four products the smallest is left out: about 16 bits of
  /// each factor count, and the error is that of many products in f32, some 4e-6.
  Products split;
  /// Every factor is rounded to bf16.
  Products single;
  /// What Winograd takes by products of 16 bits (winograd_fixed.cpp), or null.
  const Winograd* fixed;
  bool tiles;  // of AMX, which are preferred to Winograd, and `split` to products of f32
  /// As that of Roofs, in bf16.
  double (*multiply_add)(int64_t rounds, float* values);
};

struct Isa {
  const char* name;
  int64_t depthwise_channels;
  Tiles f32, f64, bf16, f16;
  const Winograd* winograd;
  const Roofs* roofs;
  const Pairs* pairs;  // or null
};

/// The best table this processor can run, or the one that LUX_ISA names: v2, v3 or v4, the levels of x86-64,
/// v4+bf16 or v4+amx, which have pairs, or base on other processors. Null where there is none. Throws Error
/// when LUX_ISA names one that the processor cannot run, or none.
const Isa* isa();
/// For tests that carry out themselves what the processor lacks: runs the table of that name.
void set_isa(std::string_view name);

}  // namespace lux::cpu
