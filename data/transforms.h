// What is done to pictures before a network sees them: resizing in the conventions of the papers' code,
// crops, flips, quarter turns. Pictures are f32 [H, W, C] or [N, H, W, C]; nothing here is differentiable.
#pragma once

#include <cstdint>

#include "luxgrad/tensor/tensor.h"

namespace lux {

enum class Interpolation : uint8_t {
  nearest,   ///< the pixel under the centre: floor((i + ½)·in/out); tf.image.resize, Keras load_img, PIL
  bilinear,  ///< two neighbours at half-pixel centres, no antialiasing; tf.image.resize, cv2 INTER_LINEAR,
             ///< PyTorch
  area,      ///< exact mean over the covered area; cv2 INTER_AREA when shrinking
  lanczos,   ///< Lanczos-3, its support scaled when shrinking; PIL ANTIALIAS
};

struct ResizeImageOptions {
  Interpolation mode = Interpolation::bilinear;
  /// The picture is rounded to multiples of 1/255, and the result has the bytes that 8-bit pictures give:
  /// `bilinear` those of OpenCV, the others those of PIL, which rounds after the pass along rows and after
  /// the one along columns.
  bool eight_bit = false;
};

/// Throws Error unless `image` is f32 of rank 3 or 4 and all sides are at least 1.
Tensor resize_image(const Tensor& image, int64_t height, int64_t width,
                    const ResizeImageOptions& options = {});

/// The part that begins at (top, left). Throws Error when it leaves the picture.
Tensor crop(const Tensor& image, int64_t top, int64_t left, int64_t height, int64_t width);

Tensor flip_left_right(const Tensor& image);
Tensor flip_up_down(const Tensor& image);

/// Turned counterclockwise by `turns` quarters; any integer.
Tensor rotate90(const Tensor& image, int64_t turns);

}  // namespace lux
