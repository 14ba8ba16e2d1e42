#include "luxgrad/training/evaluate.h"

#include "luxgrad/data/image.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/training/metrics.h"

namespace lux {
namespace {

struct Column {
  const char* name;
  double Scores::*value;
};

constexpr Column kColumns[] = {{"psnr", &Scores::psnr},
                               {"ssim", &Scores::ssim},
                               {"psnr_uint8", &Scores::psnr_uint8},
                               {"psnr_gt_mean", &Scores::psnr_gt_mean}};

std::string quoted(const std::string& field) {
  if (field.find_first_of("\",\r\n") == std::string::npos) return field;
  std::string text = "\"";
  for (const char c : field) text += c == '"' ? "\"\"" : std::string(1, c);
  return text + "\"";
}

std::string csv_line(const ImageScores& image) {
  std::string line = quoted(image.name);
  for (const Column& column : kColumns) line += cat(",", exact_text(image.scores.*column.value));
  return line + "\n";
}

}  // namespace

Scores score(const Tensor& result, const Tensor& reference) {
  return {.psnr = metrics::psnr(result, reference),
          .ssim = metrics::ssim(result, reference),
          .psnr_uint8 = metrics::psnr(metrics::quantize_8bit(result), metrics::quantize_8bit(reference)),
          .psnr_gt_mean = metrics::psnr(metrics::match_mean(result, reference), reference)};
}

Evaluation evaluate(const Model& model, const PictureList& pairs,
                    FunctionRef<void(const ImageScores&)> each) {
  check(!pairs.empty(), "evaluate: expected at least one pair of pictures");
  Evaluation evaluation;
  for (const PicturePaths& pair : pairs) {
    check(!pair.high.empty(), "evaluate: expected a reference for ", pair.name);
    const Tensor low = to_tensor(load_image(pair.low)), high = to_tensor(load_image(pair.high));
    check(low.shape() == high.shape(), "evaluate: ", pair.name, ": expected a pair of one size, got ",
          low.shape(), " and ", high.shape());
    evaluation.images.push_back({pair.name, score(enhance(model, low), high)});
    each(evaluation.images.back());
  }
  for (const Column& column : kColumns) {
    double sum = 0;
    for (const ImageScores& image : evaluation.images) sum += image.scores.*column.value;
    evaluation.mean.*column.value = sum / static_cast<double>(evaluation.images.size());
  }
  return evaluation;
}

std::string to_csv(const Evaluation& evaluation) {
  std::string text = "image";
  for (const Column& column : kColumns) text += cat(",", column.name);
  text += "\n";
  for (const ImageScores& image : evaluation.images) text += csv_line(image);
  return text + csv_line({"mean", evaluation.mean});
}

}  // namespace lux
