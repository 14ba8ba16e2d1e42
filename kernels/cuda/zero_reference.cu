// The pictures are read once: a block pools its 16x16 pixels into sixteen regions and adds up their channels.
// From the regions, a sixteenth of the pixels, small kernels make three of the losses; the fourth reads the
// curves once. The backward writes the gradient of the picture once, for all three. Everything as large as a
// picture travels by 16 bytes, unless its width, or the number of maps, is no multiple of what these hold.
#include "luxgrad/kernels/cuda/fill.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/pixels.cuh"
#include "luxgrad/kernels/cuda/sums.cuh"
#include "luxgrad/kernels/pixel.h"
#include "luxgrad/kernels/zero_reference_forms.h"

namespace lux::cuda {
namespace {

constexpr int kTile = 16;  // side of a block's pixels
constexpr int kPacks = 8;  // of a thread, of the curves

using Means = RegionMeans<float>;

struct Regions {
  const float* means;  // [regions, 2]
  LUX_DEVICE Means operator()(int64_t region) const { return {means[2 * region], means[2 * region + 1]}; }
};

struct Tiles {
  int64_t N, rows, columns;
  LUX_HD int64_t of_picture() const { return rows * columns; }
};

// 16 neighbouring threads have a region; a warp has two. L values are read at once.
template <class T, int L>
struct PoolTiles {
  RegionGrid grid;
  Tiles tiles;
  const T *enhanced, *low;
  float *regions, *channels;  // [regions, 2]; [tiles, 3]

  LUX_DEVICE void operator()() const {
    LUX_SHARED Shared<float, kBlockValues> bright_values;
    LUX_SHARED Shared<float, kBlockValues> dark_values;
    const Pixel tile = Pixel::of(block_index(), tiles.rows, tiles.columns);
    share(tile, enhanced, bright_values);
    share(tile, low, dark_values);
    sync_threads();
    const int region = thread_index() / 16, inside = thread_index() % 16;
    const int64_t row = tile.h * 4 + region / 4, column = tile.w * 4 + region % 4;
    const int64_t pixel = (region / 4 * kRegion + inside / 4) * kTile + region % 4 * kRegion + inside % 4;
    float sums[3], dark = 0;
    for (int c = 0; c < 3; ++c) {
      sums[c] = bright_values[3 * pixel + c];
      dark += dark_values[3 * pixel + c];
    }
    float bright = sums[0] + sums[1] + sums[2];
    for (int mask = 8; mask > 0; mask /= 2) {
      bright += shuffle_xor(bright, mask);
      dark += shuffle_xor(dark, mask);
    }
    if (inside == 0 && row < grid.rows && column < grid.columns) {
      float* const to = regions + ((tile.n * grid.rows + row) * grid.columns + column) * 2;
      to[0] = bright / 48;
      to[1] = dark / 48;
    }
    block_sum(sums);
    if (thread_index() > 0) return;
    LUX_UNROLL
    for (int c = 0; c < 3; ++c) channels[block_index() * 3 + c] = sums[c];
  }

  // The values of the tile; 0 outside of the picture.
  LUX_DEVICE void share(const Pixel& tile, const T* picture, Shared<float, kBlockValues>& values) const {
    constexpr int kRow = 3 * kTile;
    for (int i = thread_index() * L; i < kBlockValues; i += kThreads * L) {
      const int64_t h = tile.h * kTile + i / kRow, value = tile.w * kRow + i % kRow;
      Lanes<L> pack;
      if (h < grid.H && value < 3 * grid.W)
        pack = load<L>(picture + (tile.n * grid.H + h) * 3 * grid.W + value);
      for (int l = 0; l < L; ++l) values[i + l] = pack[l];
    }
  }
};

// The differences around an element, L channels at once; 0 where there is no neighbour.
template <class T, int L>
struct Maps {
  const T* maps;
  int64_t H, W, C;

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
};

template <class T, int L>
struct VariationSum {
  Maps<T, L> maps;
  int64_t items;
  bool joint;
  float vertical, horizontal;
  float* partial;

  LUX_DEVICE void operator()() const {
    float sums[1] = {0};
    const int64_t packs = maps.C / L;
    for (int k = 0; k < kPacks; ++k) {
      const int64_t i = (block_index() * kPacks + k) * kThreads + thread_index();
      if (i >= items) continue;
      const Pixel at = Pixel::of(i / packs, maps.H, maps.W);
      const Lanes<L> v = maps.down(at, i % packs * L), h = maps.right(at, i % packs * L);
      for (int l = 0; l < L; ++l) {
        const float both = std::fabs(v[l]) + std::fabs(h[l]);
        sums[0] += joint ? vertical * both * both : vertical * v[l] * v[l] + horizontal * h[l] * h[l];
      }
    }
    block_sum(sums);
    if (thread_index() == 0) partial[block_index()] = sums[0];
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
template <class T>
struct Totals {
  const float *variation, *regions,
      *channels;  // partial sums: [variation_blocks], [region_blocks, 2], [tiles, 3]
  int64_t variation_blocks, region_blocks;
  Tiles tiles;
  float pixels, spatial_share, patch_share;  // of a picture; 1 / regions · scale; 1 / patches
  ColorCast cast;
  float* means;  // [N, 3]
  T* terms;

  LUX_DEVICE void operator()() const {
    float sums[3] = {0, 0, 0};
    for (int64_t i = thread_index(); i < variation_blocks; i += kThreads) sums[0] += variation[i];
    for (int64_t i = thread_index(); i < region_blocks; i += kThreads) {
      sums[1] += regions[2 * i];
      sums[2] += regions[2 * i + 1];
    }
    block_sum(sums);
    float color = 0;
    for (int64_t n = 0; n < tiles.N; ++n) {
      float of_picture[3] = {0, 0, 0};
      for (int64_t i = thread_index(); i < tiles.of_picture(); i += kThreads) {
        for (int c = 0; c < 3; ++c) of_picture[c] += channels[(n * tiles.of_picture() + i) * 3 + c];
      }
      block_sum(of_picture);
      for (int c = 0; c < 3; ++c) of_picture[c] /= pixels;
      if (thread_index() == 0) {
        for (int c = 0; c < 3; ++c) means[n * 3 + c] = of_picture[c];
      }
      color += cast.value(of_picture);
    }
    if (thread_index() > 0) return;
    terms[0] = T(sums[0]);
    terms[1] = T(sums[1] * spatial_share);
    terms[2] = T(color / static_cast<float>(tiles.N));
    terms[3] = T(sums[2] * patch_share);
  }
};

// Of the picture: what a pixel gets from its region, from its patch and from the means of the channels.
template <class T>
struct PictureGradient {
  RegionGrid grid;
  SpatialWeights spatial;
  ExposureForm exposure;
  ColorCast cast;
  int64_t patch, patch_rows, patch_columns;
  float spatial_share, patch_share, color_share;  // of a pixel's channel
  const float *regions, *errors, *means;
  const T* g;  // of the terms
  T* gx;

  LUX_DEVICE void operator()() const {
    const int64_t pixels = grid.N * grid.H * grid.W;
    float gradient[1][3] = {};
    if (global_index() < pixels) of_pixel(Pixel::of(global_index(), grid.H, grid.W), gradient[0]);
    write_pixels(&gx, pixels, gradient);
  }

  LUX_DEVICE void of_pixel(const Pixel& at, float (&gradient)[3]) const {
    float all = 0;
    const int64_t row = at.h / kRegion, column = at.w / kRegion;
    if (row < grid.rows && column < grid.columns) {
      const int64_t region = (at.n * grid.rows + row) * grid.columns + column;
      all += static_cast<float>(g[1]) * spatial_share *
             region_slopes<float>(grid, spatial, region, Regions{regions}).y;
    }
    if (at.h / patch < patch_rows && at.w / patch < patch_columns) {
      const float e = errors[(at.n * patch_rows + at.h / patch) * patch_columns + at.w / patch];
      const float slope = exposure == ExposureForm::official ? 2 * e : SpatialWeights::sign(e);
      all += static_cast<float>(g[3]) * patch_share * slope;
    }
    const float share = static_cast<float>(g[2]) * color_share;
    for (int c = 0; c < 3; ++c) gradient[c] = all + share * cast.slope(means + at.n * 3, c);
  }
};

// Of the curves: the slopes of the differences that an element takes part in.
template <class T, int L>
struct VariationGradient {
  Maps<T, L> maps;
  int64_t items;
  bool joint;
  float vertical, horizontal;
  const T* g;
  T* gx;

  LUX_DEVICE void operator()() const {
    if (global_index() >= items) return;
    const int64_t packs = maps.C / L, c = global_index() % packs * L;
    const Pixel at = Pixel::of(global_index() / packs, maps.H, maps.W);
    const Pixel above{at.n, at.h - 1, at.w}, before{at.n, at.h, at.w - 1};
    const Lanes<L> v = maps.down(at, c), h = maps.right(at, c);
    const Lanes<L> up = at.h > 0 ? maps.down(above, c) : Lanes<L>{};
    const Lanes<L> left = at.w > 0 ? maps.right(before, c) : Lanes<L>{};
    Lanes<L> slope;
    if (joint) {
      const Lanes<L> up_right = at.h > 0 ? maps.right(above, c) : Lanes<L>{};
      const Lanes<L> left_down = at.w > 0 ? maps.down(before, c) : Lanes<L>{};
      for (int l = 0; l < L; ++l) {
        slope[l] = vertical * (-(std::fabs(v[l]) + std::fabs(h[l])) * (sign(v[l]) + sign(h[l])) +
                               (std::fabs(up[l]) + std::fabs(up_right[l])) * sign(up[l]) +
                               (std::fabs(left_down[l]) + std::fabs(left[l])) * sign(left[l]));
      }
    } else {
      for (int l = 0; l < L; ++l) slope[l] = vertical * (up[l] - v[l]) + horizontal * (left[l] - h[l]);
    }
    const float share = 2 * static_cast<float>(g[0]);
    for (int l = 0; l < L; ++l) slope[l] *= share;
    store(gx + global_index() * L, slope);
  }
  LUX_DEVICE static float sign(float d) { return SpatialWeights::sign(d); }
};

RegionGrid grid_of(const Tensor& x) {
  return {x.size(0), x.size(1), x.size(2), 3, x.size(1) / kRegion, x.size(2) / kRegion};
}

// Returns the partial sums.
template <class T>
Tensor sum_variation(const Tensor& curves, const VariationWeights& weights) {
  Tensor partial;
  with_lanes<T>(curves.size(3), [&](auto lanes) {
    const int64_t items = curves.numel() / lanes;
    partial = empty({blocks_of(items, kPacks * kThreads)}, {DType::f32, curves.device()});
    const Maps<T, lanes> maps{curves.data<T>(), curves.size(1), curves.size(2), curves.size(3)};
    launch(partial.numel(),
           VariationSum<T, lanes>{maps, items, weights.joint, static_cast<float>(weights.vertical),
                                  static_cast<float>(weights.horizontal), partial.data<float>()});
  });
  return partial;
}

float inverse(int64_t count) { return static_cast<float>(1 / static_cast<double>(count)); }

bool zero_reference(const Tensor& enhanced, const Tensor& low, const Tensor& curves,
                    const ZeroReferenceOptions& options, const Tensor& terms, const ZeroReferenceKept& kept) {
  const RegionGrid grid = grid_of(enhanced);
  const Tiles tiles{grid.N, blocks_of(grid.H, kTile), blocks_of(grid.W, kTile)};
  const VariationWeights variation = weights_of(options.variation, curves.shape());
  const SpatialWeights spatial = weights_of(options.spatial);
  const TensorOptions f32{DType::f32, enhanced.device()};
  return dispatch_tuned(enhanced.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("zero_reference", {enhanced, low, curves, terms, kept.regions, kept.errors, kept.means});
    const Tensor channels = empty({grid.N * tiles.of_picture(), 3}, f32);
    with_lanes<T>(grid.W, [&](auto lanes) {
      launch(channels.size(0), PoolTiles<T, lanes>{grid, tiles, enhanced.data<T>(), low.data<T>(),
                                                   kept.regions.data<float>(), channels.data<float>()});
    });
    const Tensor of_regions = empty({blocks_for(grid.regions()), 2}, f32);
    launch(of_regions.size(0),
           RegionTerms{grid, spatial, options.exposure, options.patch / kRegion, kept.errors.size(1),
                       kept.errors.size(2), static_cast<float>(options.target), kept.regions.data<float>(),
                       kept.errors.data<float>(), of_regions.data<float>()});
    const Tensor of_curves = sum_variation<T>(curves, variation);
    launch(1, Totals<T>{of_curves.data<float>(), of_regions.data<float>(), channels.data<float>(),
                        of_curves.numel(), of_regions.size(0), tiles, static_cast<float>(grid.H * grid.W),
                        static_cast<float>(spatial.scale) * inverse(grid.regions()),
                        inverse(kept.errors.numel()), ColorCast{options.color}, kept.means.data<float>(),
                        terms.data<T>()});
  });
}

bool zero_reference_gradient(const Tensor& enhanced, const Tensor& curves,
                             const ZeroReferenceOptions& options, const Tensor& g,
                             const ZeroReferenceKept& kept, const Tensor& genhanced, const Tensor& gcurves) {
  const RegionGrid grid = grid_of(enhanced);
  const VariationWeights variation = weights_of(options.variation, curves.shape());
  const SpatialWeights spatial = weights_of(options.spatial);
  return dispatch_tuned(g.dtype(), [&](auto t) {
    using T = decltype(t);
    must_move("zero_reference_gradient", {gcurves.defined() ? curves : Tensor(), g, kept.regions, kept.errors,
                                          kept.means, genhanced, gcurves});
    const int64_t pixels = grid.N * grid.H * grid.W;
    if (genhanced.defined()) {
      launch(blocks_for(pixels),
             PictureGradient<T>{grid, spatial, options.exposure, ColorCast{options.color}, options.patch,
                                kept.errors.size(1), kept.errors.size(2),
                                static_cast<float>(spatial.scale) * inverse(grid.regions() * 48),
                                inverse(kept.errors.numel() * options.patch * options.patch * 3),
                                inverse(pixels), kept.regions.data<float>(), kept.errors.data<float>(),
                                kept.means.data<float>(), g.data<T>(), genhanced.data<T>()});
    }
    if (!gcurves.defined()) return;
    with_lanes<T>(curves.size(3), [&](auto lanes) {
      const int64_t items = curves.numel() / lanes;
      const Maps<T, lanes> maps{curves.data<T>(), curves.size(1), curves.size(2), curves.size(3)};
      launch(blocks_for(items),
             VariationGradient<T, lanes>{maps, items, variation.joint, static_cast<float>(variation.vertical),
                                         static_cast<float>(variation.horizontal), g.data<T>(),
                                         gcurves.data<T>()});
    });
  });
}

}  // namespace

void fill_zero_reference(Slots& slots, Device::Type device) {
  slots.zero_reference.set(device, zero_reference);
  slots.zero_reference_gradient.set(device, zero_reference_gradient);
}

}  // namespace lux::cuda
