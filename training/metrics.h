// How close a result is to its reference. Everything is computed in float64 on pictures in [0, 1], one
// picture at a time; the protocols are named, because published numbers differ by them more than by the
// networks.
#pragma once

#include <cstdint>

#include "luxgrad/tensor/tensor.h"

namespace lux::metrics {

/// 10·log10(1 / mean squared error) in dB over all elements; infinite for equal pictures. Throws Error when
/// shapes differ.
double psnr(const Tensor& result, const Tensor& reference);

/// Mean absolute error on the scale 0 … 255, as the Zero-DCE paper (arXiv:2001.06826, table 4) gives it.
double mae(const Tensor& result, const Tensor& reference);

/// How SSIM looks at a neighbourhood (Wang et al., 2004; constants 0.01² and 0.03² of the range 1). The
/// default is the field's: a Gaussian window of 11 with σ 1.5 that stays inside the picture, each channel by
/// itself, the mean over all.
struct SsimProtocol {
  int64_t window = 11;
  double sigma = 1.5;              ///< of the Gaussian; 0 weighs all pixels of the window equally
  bool sample_covariance = false;  ///< variances over n − 1 instead of n
  bool volume = false;             ///< the window also spans the channels, and borders are replicated

  static SsimProtocol skimage() { return {.window = 7, .sigma = 0, .sample_covariance = true}; }
  static SsimProtocol matlab_volume() { return {.volume = true}; }
};

/// Structural similarity of two pictures [H, W, C] or [1, H, W, C]. Throws Error when shapes differ or a side
/// is smaller than the window (unless borders are replicated).
double ssim(const Tensor& result, const Tensor& reference, const SsimProtocol& protocol = {});

/// The picture as an 8-bit file holds it: clamped to [0, 1] and rounded to a multiple of 1/255; float64.
Tensor quantize_8bit(const Tensor& picture);

/// 0.299 R + 0.587 G + 0.114 B of [..., 3]: [..., 1], float64.
Tensor gray(const Tensor& picture);

/// (65.481 R + 128.553 G + 24.966 B + 16) / 255 of [..., 3], the Y of ITU-R BT.601 that super-resolution is
/// measured on, in [16/255, 235/255]: [..., 1], float64.
Tensor luma(const Tensor& picture);

/// Whose brightness "GT mean" makes equal to the reference's.
enum class GtMean : uint8_t {
  gray,           ///< mean gray of both
  retinexformer,  ///< its test script: gray with the weights of red and blue exchanged, of both
  llflow,         ///< its test script: the mean of all channels is made the reference's mean gray
};

/// The result scaled by one factor so that its mean becomes the reference's, then clamped to [0, 1]; float64.
/// A metric of it ("GT mean") forgives a wrong overall brightness, and must be called so.
Tensor match_mean(const Tensor& result, const Tensor& reference, GtMean form = GtMean::gray);

}  // namespace lux::metrics
