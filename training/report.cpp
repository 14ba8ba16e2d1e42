#include "luxgrad/training/report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "luxgrad/data/file.h"
#include "luxgrad/data/folder.h"
#include "luxgrad/data/html.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {
namespace {

std::string samples_of(const std::string& run) {
  std::string html;
  const auto names = list_folder(run + "/samples");
  if (!names || names.value().empty()) return html;
  std::vector<std::string> sorted = names.value();
  const auto by_epoch = [](const std::string& one, const std::string& other) {  // epoch_1000 after epoch_999
    return std::pair(one.size(), std::string_view(one)) < std::pair(other.size(), std::string_view(other));
  };
  std::sort(sorted.begin(), sorted.end(), by_epoch);
  sorted.erase(sorted.begin() + 1, sorted.end() - (sorted.size() > 1 ? 1 : 0));
  for (const std::string& name : sorted) {
    const auto bytes = read_file(cat(run, "/samples/", name));
    if (bytes)
      html += cat("<figure><img src=\"data:image/png;base64,", base64(bytes.value()), "\"><figcaption>",
                  html_escaped(name), "</figcaption></figure>\n");
  }
  return html;
}

constexpr const char* kStyle =
    "body{font:15px sans-serif;max-width:44em;margin:2em auto;color:#222}svg{width:100%;background:#f6f6f6}"
    "polyline{fill:none;stroke:#06c;stroke-width:1.5}img{width:100%;image-rendering:pixelated}td{padding:0 "
    "1em 0 0}"
    "p{margin:.2em 0}";

}  // namespace

// A line that a kill cut off waits for its end.
void Report::read_on() {
  constexpr size_t kLongest = size_t{1} << 16;  // no line of a log is
  const auto take = [this](std::span<const uint8_t> piece) {
    for (const uint8_t byte : piece) {
      if (byte != '\n' && cut_line_.size() < kLongest) {
        cut_line_ += static_cast<char>(byte);
        continue;
      }
      read_line(cut_line_);
      cut_line_.clear();
    }
  };
  const auto more = read_pieces(run_ + "/log.csv", read_, std::numeric_limits<int64_t>::max(), take);
  if (more) read_ += more.value();
}

// The names of the columns, or a number for each of them.
void Report::read_line(std::string_view line) {
  std::vector<std::string_view> cells;
  for (size_t begin = 0, end = 0; end != std::string_view::npos; begin = end + 1) {
    end = line.find(',', begin);
    cells.push_back(line.substr(begin, end - begin));
  }
  if (curves_.empty()) {
    for (const std::string_view name : cells) curves_.push_back({std::string(name)});
    return;
  }
  if (cells.size() != curves_.size()) return;
  if (lines_ == kPoints * lines_per_point_) halve();
  const auto at = static_cast<size_t>(lines_++ / lines_per_point_);
  for (size_t i = 0; i < cells.size(); ++i) {
    curves_[i].points.resize(at + 1);
    double value = std::nan("");
    std::from_chars(cells[i].data(), cells[i].data() + cells[i].size(), value);
    if (!std::isfinite(value)) continue;
    Point& point = curves_[i].points[at];
    point.sum += value;
    ++point.count;
  }
}

// Makes one point of two.
void Report::halve() {
  for (Curve& curve : curves_) {
    std::vector<Point>& points = curve.points;
    for (size_t i = 0; i < points.size() / 2; ++i) {
      const Point &first = points[2 * i], &second = points[2 * i + 1];
      points[i] = {first.sum + second.sum, first.count + second.count};
    }
    points.resize(points.size() / 2);
  }
  lines_per_point_ *= 2;
}

std::string Report::drawing_of(const Curve& curve) {
  constexpr double kWidth = 640, kHeight = 120;
  std::vector<double> means;
  for (const Point& point : curve.points)
    if (point.count > 0) means.push_back(point.sum / static_cast<double>(point.count));
  if (means.empty()) return "";
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  const double range = *high > *low ? *high - *low : 1;
  std::string points;
  for (size_t i = 0; i < means.size(); ++i) {
    const double x = kWidth * static_cast<double>(i) / std::max(1.0, static_cast<double>(means.size() - 1));
    points += cat(x, ",", kHeight * (*high - means[i]) / range, " ");
  }
  return cat("<h3>", html_escaped(curve.name), "</h3><p>", means.front(), " → ", means.back(), ", from ",
             *low, " to ", *high, "</p><svg viewBox=\"-4 -4 648 128\"><polyline points=\"", points,
             "\"/></svg>\n");
}

std::string Report::page(const Facts& config) {
  read_on();
  std::string html =
      cat("<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>", html_escaped(run_), "</title><style>",
          kStyle, "</style></head><body>\n<h1>", html_escaped(run_), "</h1>\n");
  if (lines_ > 0) html += cat("<p>", lines_, " steps</p>\n");
  for (const Curve& curve : curves_) {
    if (curve.name != "epoch" && curve.name != "step") html += drawing_of(curve);
  }
  html += "<h2>First and last sample</h2>\n<p>dark, enhanced, reference where there is one</p>\n" +
          samples_of(run_);
  html += "<h2>Configuration</h2>\n<table>\n";
  for (const auto& [key, value] : config)
    html += cat("<tr><td>", html_escaped(key), "</td><td>", html_escaped(value), "</td></tr>\n");
  return html + cat("<tr><td>threads</td><td>", num_threads(), "</td></tr>\n</table>\n</body></html>\n");
}

}  // namespace lux
