#include "luxgrad/training/evaluate.h"

namespace lux {
namespace {

std::string quoted(const std::string& field) {
  if (field.find_first_of("\",\r\n") == std::string::npos) return field;
  std::string text = "\"";
  for (const char c : field) text += c == '"' ? "\"\"" : std::string(1, c);
  return text + "\"";
}

std::string csv_line(const Evaluation& evaluation, const ImageScores& image) {
  std::string line = cat(quoted(image.name), ",", quoted(evaluation.method));
  for (const Protocol& protocol : evaluation.protocols)
    line += cat(",", exact_text(image.scores.at(protocol.name)));
  return line + "\n";
}

}  // namespace

Evaluation evaluate(const std::string& name,
                    FunctionRef<Tensor(const Tensor& low, const Tensor& high)> method,
                    const PictureList& pairs, FunctionRef<void(const ImageScores&)> each,
                    const Lpips* lpips) {
  check(!pairs.empty(), "evaluate: expected at least one pair of pictures");
  Evaluation evaluation{name, protocols(lpips != nullptr), {}, {}};
  for (const PicturePaths& pair : pairs) {
    check(!pair.high.empty(), "evaluate: expected a reference for ", pair.name);
    const auto [low, high] = read_pair(pair);
    evaluation.images.push_back({pair.name, score(method(low, high), high, lpips)});
    each(evaluation.images.back());
  }
  for (const Protocol& protocol : evaluation.protocols) {
    double sum = 0;
    for (const ImageScores& image : evaluation.images) sum += image.scores.at(protocol.name);
    evaluation.mean[protocol.name] = sum / static_cast<double>(evaluation.images.size());
  }
  return evaluation;
}

std::map<std::string, Interval> intervals_of(const Evaluation& evaluation, const BootstrapOptions& options) {
  std::vector<std::vector<double>> rows;
  for (const ImageScores& image : evaluation.images) {
    std::vector<double> row;
    row.reserve(evaluation.protocols.size());
    for (const Protocol& protocol : evaluation.protocols) row.push_back(image.scores.at(protocol.name));
    rows.push_back(std::move(row));
  }
  const std::vector<Interval> columns = bootstrap_means(rows, options);
  std::map<std::string, Interval> intervals;
  for (size_t c = 0; c < columns.size(); ++c) intervals[evaluation.protocols[c].name] = columns[c];
  return intervals;
}

std::string to_csv(const std::vector<Evaluation>& evaluations) {
  std::string text = "image,method";
  check(!evaluations.empty(), "to_csv: expected at least one evaluation");
  for (const Protocol& protocol : evaluations[0].protocols) text += cat(",", protocol.name);
  text += '\n';
  for (const Evaluation& evaluation : evaluations) {
    for (const ImageScores& image : evaluation.images) text += csv_line(evaluation, image);
    text += csv_line(evaluation, {"mean", evaluation.mean});
  }
  return text;
}

}  // namespace lux
