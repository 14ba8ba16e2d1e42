// Evaluation of a model on pairs of dark pictures and references, by the default protocol of metrics.h: RGB,
// all pixels, no border; the mean over the pictures of each metric.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/data/dataset.h"
#include "luxgrad/models/model.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux {

struct Scores {
  double psnr = 0;          ///< dB, of the result as computed
  double ssim = 0;          ///< likewise
  double psnr_uint8 = 0;    ///< dB, of the result as an 8-bit file holds it
  double psnr_gt_mean = 0;  ///< dB, the result scaled to the reference's mean gray: forgives wrong brightness
};

struct ImageScores {
  std::string name;
  Scores scores;
};

struct Evaluation {
  std::vector<ImageScores> images;
  Scores mean;
};

/// The scores of a result against its reference, both [1, H, W, 3] in [0, 1], sides of at least 11.
Scores score(const Tensor& result, const Tensor& reference);

/// Enhances every dark picture at full size and compares. `each` sees the scores as they come. Throws
/// FileException for unreadable files, and Error naming the picture where a pair differs in size, and for an
/// empty list.
Evaluation evaluate(
    const Model& model, const PictureList& pairs,
    FunctionRef<void(const ImageScores&)> each = [](const ImageScores&) {});

/// A line per picture and one, `mean`, for all, with a header; fields quoted where they must be (RFC 4180).
std::string to_csv(const Evaluation& evaluation);

}  // namespace lux
