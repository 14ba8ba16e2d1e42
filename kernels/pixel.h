// Kernels that own a pixel with all its channels, where the way to other pixels is the same for each of them.
#pragma once

#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Where a pixel stands in pictures [N, H, W, C].
struct Pixel {
  int64_t n, h, w;

  LUX_HD static Pixel of(int64_t index, int64_t H, int64_t W) {
    return {index / W / H, index / W % H, index % W};
  }
  /// Its number among all pixels.
  LUX_HD int64_t index(int64_t H, int64_t W) const { return (n * H + h) * W + w; }
};

/// f(team, pixel) for every pixel of pictures [N, H, W, C].
template <class F>
void parallel_pixels(const Tensor& pictures, const F& f) {
  const int64_t C = pictures.size(3);
  if (C > 0) parallel_rows(pictures.device(), pictures.numel() / C, C, f);
}

}  // namespace lux
