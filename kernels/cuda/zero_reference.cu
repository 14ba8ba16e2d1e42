// The curve and the losses of what it makes, which is never stored: a block makes its 16x16 pixels, pools
// them into sixteen regions, and adds up their channels and the differences of the maps. From the regions, a
// sixteenth of the pixels, small kernels make the losses. The backward makes the curve again and writes one
// gradient of the maps, for all four.
#include "luxgrad/kernels/cuda/curve.cuh"
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/pixels.cuh"
#include "luxgrad/kernels/cuda/sums.cuh"
#include "luxgrad/kernels/pixel.h"
#include "luxgrad/kernels/zero_reference_forms.h"

namespace lux::cuda {
namespace {

constexpr int kTile = 16;  // side of a block's pixels

using Means = RegionMeans<float>;

struct Regions {
  const float* means;  // [regions, 2]
  LUX_DEVICE Means operator()(int64_t region) const { return {means[2 * region], means[2 * region + 1]}; }
};

struct Tiles {
  int64_t N, rows, columns;
  LUX_HD int64_t of_picture() const { return rows * columns; }
};

// The differences around an element of the maps, L channels at once; 0 where there is no neighbour.
template <class T, int L>
struct Variation {
  const T* maps;
  int64_t H, W, C;
  bool joint;
  float vertical, horizontal;

  LUX_DEVICE Lanes<L> between(int64_t from, int64_t to) const {
    const Lanes<L> a = load<L>(maps + from);
    Lanes<L> b = load<L>(maps + to);
    for (int l = 0; l < L; ++l) b[l] -= a[l];
    return b;
  }
  LUX_DEVICE Lanes<L> down(const Pixel& p, int64_t c) const {
    return p.h + 1 < H ? between(p.index(H, W) * C + c, (p.index(H, W) + W) * C + c) : Lanes<L>{};
  }
  LUX_DEVICE Lanes<L> right(const Pixel& p, int64_t c) const {
    return p.w + 1 < W ? between(p.index(H, W) * C + c, (p.index(H, W) + 1) * C + c) : Lanes<L>{};
  }

  // The terms of the differences of a pixel.
  LUX_DEVICE float sum(const Pixel& at) const {
    float all = 0;
    for (int64_t c = 0; c < C; c += L) {
      const Lanes<L> v = down(at, c), h = right(at, c);
      for (int l = 0; l < L; ++l) {
        const float both = std::fabs(v[l]) + std::fabs(h[l]);
        all += joint ? vertical * both * both : vertical * v[l] * v[l] + horizontal * h[l] * h[l];
      }
    }
    return all;
  }

  // Half the slopes of all terms that elements take part in.
  LUX_DEVICE Lanes<L> half_slopes(const Pixel& at, int64_t c) const {
    const Pixel above{at.n, at.h - 1, at.w}, before{at.n, at.h, at.w - 1};
    const Lanes<L> v = down(at, c), h = right(at, c);
    const Lanes<L> up = at.h > 0 ? down(above, c) : Lanes<L>{};
    const Lanes<L> left = at.w > 0 ? right(before, c) : Lanes<L>{};
    Lanes<L> slope;
    if (joint) {
      const Lanes<L> up_right = at.h > 0 ? right(above, c) : Lanes<L>{};
      const Lanes<L> left_down = at.w > 0 ? down(before, c) : Lanes<L>{};
      for (int l = 0; l < L; ++l) {
        slope[l] = vertical * (-(std::fabs(v[l]) + std::fabs(h[l])) * (sign(v[l]) + sign(h[l])) +
                               (std::fabs(up[l]) + std::fabs(up_right[l])) * sign(up[l]) +
                               (std::fabs(left_down[l]) + std::fabs(left[l])) * sign(left[l]));
      }
    } else {
      for (int l = 0; l < L; ++l) slope[l] = vertical * (up[l] - v[l]) + horizontal * (left[l] - h[l]);
    }
    return slope;
  }
  LUX_DEVICE static float sign(float d) { return SpatialWeights::sign(d); }
};

// Where the one map is no picture of a block's, its values come one by one.
template <class Maps, class T>
LUX_DEVICE Maps maps_of(const CurveOperands<T>& in, int64_t pixel) {
  float own[3] = {};
  for (int c = 0; Maps::kPictures > 0 && c < 3; ++c) own[c] = static_cast<float>(in.curves[3 * pixel + c]);
  return Maps(in, pixel, own);
}

// 16 neighbouring threads have a region; a warp has two. L values of a row are read at once.
template <class T, int L, class Maps, int kLanes>
struct EnhanceTiles {
  RegionGrid grid;
  Tiles tiles;
  CurveOperands<T> in;
  Variation<T, kLanes> variation;
  float *regions, *sums;  // [regions, 2]; [tiles, 4]: of the channels, and of the differences

  LUX_DEVICE void operator()() const {
    LUX_SHARED Shared<float, kBlockValues> values;
    const Pixel tile = Pixel::of(block_index(), tiles.rows, tiles.columns);
    share(tile, values);
    sync_threads();
    const int region = thread_index() / 16, inside = thread_index() % 16;
    const int64_t row = tile.h * 4 + region / 4, column = tile.w * 4 + region % 4;
    const int64_t place = (region / 4 * kRegion + inside / 4) * kTile + region % 4 * kRegion + inside % 4;
    const Pixel at{tile.n, row * kRegion + inside / 4, column * kRegion + inside % 4};
    float all[4] = {0, 0, 0, 0}, bright = 0, dark = 0;
    if (at.h < grid.H && at.w < grid.W) {
      float color[3];
      for (int c = 0; c < 3; ++c) color[c] = values[3 * place + c];
      dark = color[0] + color[1] + color[2];
      apply_curve(maps_of<Maps>(in, at.index(grid.H, grid.W)), in.iterations, color);
      for (int c = 0; c < 3; ++c) all[c] = color[c];
      bright = color[0] + color[1] + color[2];
      all[3] = variation.sum(at);
    }
    for (int mask = 8; mask > 0; mask /= 2) {
      bright += shuffle_xor(bright, mask);
      dark += shuffle_xor(dark, mask);
    }
    if (inside == 0 && row < grid.rows && column < grid.columns) {
      float* const to = regions + ((tile.n * grid.rows + row) * grid.columns + column) * 2;
      to[0] = bright / 48;
      to[1] = dark / 48;
    }
    block_sum(all);
    if (thread_index() > 0) return;
    LUX_UNROLL
    for (int k = 0; k < 4; ++k) sums[block_index() * 4 + k] = all[k];
  }

  // The values of the tile; 0 outside of the picture.
  LUX_DEVICE void share(const Pixel& tile, Shared<float, kBlockValues>& values) const {
    constexpr int kRow = 3 * kTile;
    for (int i = thread_index() * L; i < kBlockValues; i += kThreads * L) {
      const int64_t h = tile.h * kTile + i / kRow, value = tile.w * kRow + i % kRow;
      Lanes<L> pack;
      if (h < grid.H && value < 3 * grid.W) pack = load<L>(in.x + (tile.n * grid.H + h) * 3 * grid.W + value);
      for (int l = 0; l < L; ++l) values[i + l] = pack[l];
    }
  }
};

// Thread i has region i, and patch i where there is one.
struct RegionTerms {
  RegionGrid grid;
  SpatialWeights spatial;
  ExposureForm exposure;
  int64_t patch_regions, patch_rows, patch_columns;  // side of a patch in regions
  float target;
  const float* regions;
  float *errors, *partial;  // [patches]; [blocks, 2]

  LUX_DEVICE void operator()() const {
    float sums[2] = {0, 0};
    const int64_t i = global_index();
    if (i < grid.regions()) {
      const Means own = Regions{regions}(i);
      const float e = own.y - own.i;
      sums[0] = static_cast<float>(spatial.self) * e * e;
      each_neighbour<float>(grid, spatial, i, Regions{regions}, [&](const Means& other, bool) {
        sums[0] += spatial.pair(own.y - other.y, own.i - other.i);
      });
    }
    if (i < grid.N * patch_rows * patch_columns) {
      const Pixel patch = Pixel::of(i, patch_rows, patch_columns);
      float sum = 0;
      for (int64_t row = 0; row < patch_regions; ++row) {
        const int64_t first =
            (patch.n * grid.rows + patch.h * patch_regions + row) * grid.columns + patch.w * patch_regions;
        for (int64_t column = 0; column < patch_regions; ++column) sum += regions[2 * (first + column)];
      }
      const float e = sum / static_cast<float>(patch_regions * patch_regions) - target;
      errors[i] = e;
      sums[1] = exposure == ExposureForm::paper ? std::fabs(e) : e * e;
    }
    block_sum(sums);
    if (thread_index() > 0) return;
    partial[block_index() * 2] = sums[0];
    partial[block_index() * 2 + 1] = sums[1];
  }
};

// One block adds up everything.
struct Totals {
  const float *regions, *of_tiles;  // partial sums: [region_blocks, 2], [tiles, 4]
  int64_t region_blocks;
  Tiles tiles;
  float pixels, spatial_share, patch_share;  // of a picture; 1 / regions · scale; 1 / patches
  ColorCast cast;
  float* means;  // [N, 3]
  float* terms;

  LUX_DEVICE void operator()() const {
    float sums[2] = {0, 0}, variation = 0;
    for (int64_t i = thread_index(); i < region_blocks; i += kThreads) {
      sums[0] += regions[2 * i];
      sums[1] += regions[2 * i + 1];
    }
    block_sum(sums);
    float color = 0;
    for (int64_t n = 0; n < tiles.N; ++n) {
      float of_picture[4] = {0, 0, 0, 0};
      for (int64_t i = thread_index(); i < tiles.of_picture(); i += kThreads) {
        for (int k = 0; k < 4; ++k) of_picture[k] += of_tiles[(n * tiles.of_picture() + i) * 4 + k];
      }
      block_sum(of_picture);
      for (int c = 0; c < 3; ++c) of_picture[c] /= pixels;
      if (thread_index() == 0) {
        for (int c = 0; c < 3; ++c) means[n * 3 + c] = of_picture[c];
      }
      color += cast.value(of_picture);
      variation += of_picture[3];
    }
    if (thread_index() > 0) return;
    terms[0] = variation;
    terms[1] = sums[0] * spatial_share;
    terms[2] = color / static_cast<float>(tiles.N);
    terms[3] = sums[1] * patch_share;
  }
};

// What a pixel of the enhanced picture gets from its region, its patch and the means of its channels.
struct PictureSlopes {
  RegionGrid grid;
  SpatialWeights spatial;
  ExposureForm exposure;
  ColorCast cast;
  int64_t patch, patch_rows, patch_columns;
  float spatial_share, patch_share, color_share;  // of a pixel's channel
  const float *regions, *errors, *means, *g;      // g: of the terms

  LUX_DEVICE void of_pixel(const Pixel& at, float (&gradient)[3]) const {
    float all = 0;
    const int64_t row = at.h / kRegion, column = at.w / kRegion;
    if (row < grid.rows && column < grid.columns) {
      const int64_t region = (at.n * grid.rows + row) * grid.columns + column;
      all += g[1] * spatial_share * region_slopes<float>(grid, spatial, region, Regions{regions}).y;
    }
    if (at.h / patch < patch_rows && at.w / patch < patch_columns) {
      const float e = errors[(at.n * patch_rows + at.h / patch) * patch_columns + at.w / patch];
      const float slope = exposure == ExposureForm::official ? 2 * e : SpatialWeights::sign(e);
      all += g[3] * patch_share * slope;
    }
    for (int c = 0; c < 3; ++c) gradient[c] = all + g[2] * color_share * cast.slope(means + at.n * 3, c);
  }
};

template <class T, class Maps, int L>
struct CurvesGradient {
  PictureSlopes picture;
  CurveOperands<T> in;
  Variation<T, L> variation;
  T* gcurves;

  LUX_DEVICE void operator()() const {
    const T* const pictures[] = {in.x};
    float colors[1][3];
    read_pixels(pictures, in.pixels, colors);
    if (global_index() >= in.pixels) return;
    const Pixel at = Pixel::of(global_index(), picture.grid.H, picture.grid.W);
    float g[3];
    picture.of_pixel(at, g);
    Maps maps = maps_of<Maps>(in, global_index());
    LUX_UNROLL
    for (int c = 0; c < 3; ++c) channel_gradient<T>(maps, in.iterations, c, colors[0][c], g[c], nullptr);
    const float share = 2 * picture.g[0];
    LUX_UNROLL
    for (int i = 0; i < Maps::kValues; i += L) {
      Lanes<L> all = variation.half_slopes(at, i);
      LUX_UNROLL
      for (int l = 0; l < L; ++l) all[l] = maps.gradient(i + l) + share * all[l];
      store(gcurves + global_index() * Maps::kValues + i, all);
    }
  }
};

RegionGrid grid_of(const Tensor& x) {
  return {x.size(0), x.size(1), x.size(2), 3, x.size(1) / kRegion, x.size(2) / kRegion};
}

float inverse(int64_t count) { return static_cast<float>(1 / static_cast<double>(count)); }

// f(operands, variation, maps) with the kind of maps in the type of `maps`; false for any other number of
// them.
template <class T, class F>
bool with_maps(const Tensor& low, const Tensor& curves, int iterations, const ZeroReferenceOptions& options,
               const F& f) {
  const CurveOperands<T> in{low.data<T>(), curves.data<T>(), low.numel() / 3, curves.size(3), iterations};
  const VariationWeights weights = weights_of(options.variation, curves.shape());
  const auto run = [&](auto maps, auto lanes) {
    f(in,
      Variation<T, lanes>{in.curves, low.size(1), low.size(2), in.maps, weights.joint,
                          static_cast<float>(weights.vertical), static_cast<float>(weights.horizontal)},
      maps, lanes);
    return true;
  };
  if (in.maps == 3) return run(std::type_identity<OneMap<T>>{}, std::integral_constant<int, 1>{});
  if (iterations == 8)
    return run(std::type_identity<EightMaps<T>>{}, std::integral_constant<int, kWide<T>>{});
  return false;
}

bool zero_reference(const Tensor& low, const Tensor& curves, const int& iterations,
                    const ZeroReferenceOptions& options, const Tensor& terms, const ZeroReferenceKept& kept) {
  const RegionGrid grid = grid_of(low);
  const Tiles tiles{grid.N, blocks_of(grid.H, kTile), blocks_of(grid.W, kTile)};
  const SpatialWeights spatial = weights_of(options.spatial);
  const TensorOptions f32{DType::f32, low.device()};
  return dispatch_tuned(low.dtype(), [&](auto t) {
    using T = decltype(t);
    return with_maps<T>(
        low, curves, iterations, options, [&](auto in, auto variation, auto maps, auto map_lanes) {
          must_move("zero_reference", {low, curves, terms, kept.regions, kept.errors, kept.means});
          const Tensor of_tiles = empty({grid.N * tiles.of_picture(), 4}, f32);
          with_lanes<T>(grid.W, [&](auto lanes) {
            launch(of_tiles.size(0),
                   EnhanceTiles<T, lanes, typename decltype(maps)::type, map_lanes>{
                       grid, tiles, in, variation, kept.regions.data<float>(), of_tiles.data<float>()});
          });
          const Tensor of_regions = empty({blocks_for(grid.regions()), 2}, f32);
          launch(
              of_regions.size(0),
              RegionTerms{grid, spatial, options.exposure, options.patch / kRegion, kept.errors.size(1),
                          kept.errors.size(2), static_cast<float>(options.target), kept.regions.data<float>(),
                          kept.errors.data<float>(), of_regions.data<float>()});
          launch(1, Totals{of_regions.data<float>(), of_tiles.data<float>(), of_regions.size(0), tiles,
                           static_cast<float>(grid.H * grid.W),
                           static_cast<float>(spatial.scale) * inverse(grid.regions()),
                           inverse(kept.errors.numel()), ColorCast{options.color}, kept.means.data<float>(),
                           terms.data<float>()});
        });
  });
}

bool zero_reference_gradient(const Tensor& low, const Tensor& curves, const int& iterations,
                             const ZeroReferenceOptions& options, const Tensor& g,
                             const ZeroReferenceKept& kept, const Tensor& gcurves) {
  const RegionGrid grid = grid_of(low);
  const SpatialWeights spatial = weights_of(options.spatial);
  return dispatch_tuned(low.dtype(), [&](auto t) {
    using T = decltype(t);
    return with_maps<
        T>(low, curves, iterations, options, [&](auto in, auto variation, auto maps, auto lanes) {
      must_move("zero_reference_gradient", {low, curves, g, kept.regions, kept.errors, kept.means, gcurves});
      const PictureSlopes picture{grid,
                                  spatial,
                                  options.exposure,
                                  ColorCast{options.color},
                                  options.patch,
                                  kept.errors.size(1),
                                  kept.errors.size(2),
                                  static_cast<float>(spatial.scale) * inverse(grid.regions() * 48),
                                  inverse(kept.errors.numel() * options.patch * options.patch * 3),
                                  inverse(in.pixels),
                                  kept.regions.data<float>(),
                                  kept.errors.data<float>(),
                                  kept.means.data<float>(),
                                  g.data<float>()};
      launch(blocks_for(in.pixels), CurvesGradient<T, typename decltype(maps)::type, lanes>{
                                        picture, in, variation, gcurves.data<T>()});
    });
  });
}

}  // namespace

void fill_zero_reference(Slots& slots, Device::Type device) {
  slots.zero_reference.set(device, zero_reference);
  slots.zero_reference_gradient.set(device, zero_reference_gradient);
}

}  // namespace lux::cuda
