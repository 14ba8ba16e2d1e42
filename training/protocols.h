// The conventions that published numbers were measured by, side by side. They differ by more than networks
// do, so a number without its convention says nothing: docs/evaluation.md has the definitions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "luxgrad/models/lpips.h"

namespace lux {

/// One convention: a measure of what is made of the two pictures.
struct Protocol {
  std::string name;      ///< column of a CSV file and key in JSON: `ssim_gt_mean_uint8`
  std::string pictures;  ///< what is compared, for people: "RGB, GT mean, 8 bits"
  std::string measure;   ///< of it: "SSIM"
};

/// All of them, in a fixed order; the first two, `psnr` and `ssim`, are the field's default. LPIPS is
/// measured only where the user has its network.
std::vector<Protocol> protocols(bool with_lpips = false);

/// A number for every protocol, by its name.
using Scores = std::map<std::string, double>;

/// The scores of a result against its reference, both [1, H, W, 3] in [0, 1], sides of at least 11, or as
/// LPIPS asks.
Scores score(const Tensor& result, const Tensor& reference, const Lpips* lpips = nullptr);

}  // namespace lux
