// Evaluation on pairs of dark pictures and references: every picture by every protocol, their means, and how
// sure those are.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/data/dataset.h"
#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/training/bootstrap.h"
#include "luxgrad/training/protocols.h"

namespace lux {

struct ImageScores {
  std::string name;
  Scores scores;
};

struct Evaluation {
  std::string method;  ///< what made the pictures, for tables
  std::vector<Protocol> protocols;
  std::vector<ImageScores> images;
  Scores mean;
};

/// Brightens every dark picture [1, H, W, 3] at full size and compares. The method is given the reference,
/// too, for networks that are guided by one. `each` sees the scores as they come. Throws FileException
/// for unreadable files and pairs of two sizes, and Error for a picture without reference and an empty list.
Evaluation evaluate(
    const std::string& name, FunctionRef<Tensor(const Tensor& low, const Tensor& high)> method,
    const PictureList& pairs, FunctionRef<void(const ImageScores&)> each = [](const ImageScores&) {},
    const Lpips* lpips = nullptr);

/// For every protocol the interval of its mean over the pictures.
std::map<std::string, Interval> intervals_of(const Evaluation& evaluation,
                                             const BootstrapOptions& options = {});

/// A line per picture and method, and one named `mean` for all, with a header; fields quoted where they must
/// be (RFC 4180). All were measured by the same protocols.
std::string to_csv(const std::vector<Evaluation>& evaluations);

}  // namespace lux
