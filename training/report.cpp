#include "luxgrad/training/report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <vector>

#include "luxgrad/data/file.h"
#include "luxgrad/data/folder.h"
#include "luxgrad/data/html.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {
namespace {

struct Curve {
  std::string name;
  std::vector<double> values{};
};

std::string text_of(const std::string& path) {
  const auto bytes = read_file(path);
  return bytes ? std::string(bytes.value().begin(), bytes.value().end()) : "";
}

// The columns of a CSV file whose cells are numbers; a line that a kill cut off is left out.
std::vector<Curve> columns_of(const std::string& csv) {
  std::vector<Curve> columns;
  for (size_t begin = 0, end; (end = csv.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::vector<std::string> cells(1);
    for (const char c : csv.substr(begin, end - begin)) {
      if (c == ',')
        cells.emplace_back();
      else
        cells.back() += c;
    }
    if (columns.empty()) {
      for (const std::string& name : cells) columns.push_back({name});
    } else if (cells.size() == columns.size()) {
      for (size_t i = 0; i < cells.size(); ++i) {
        double value = std::nan("");
        std::from_chars(cells[i].data(), cells[i].data() + cells[i].size(), value);
        columns[i].values.push_back(value);
      }
    }
  }
  return columns;
}

// Means over at most kPoints equal parts of the run: what a screen can show.
std::vector<double> thinned(const std::vector<double>& values) {
  constexpr size_t kPoints = 400;
  const size_t parts = std::min(kPoints, values.size());
  std::vector<double> means;
  for (size_t part = 0; part < parts; ++part) {
    double sum = 0;
    size_t count = 0;
    for (size_t i = values.size() * part / parts; i < values.size() * (part + 1) / parts; ++i) {
      if (!std::isfinite(values[i])) continue;
      sum += values[i];
      ++count;
    }
    if (count > 0) means.push_back(sum / static_cast<double>(count));
  }
  return means;
}

std::string drawing_of(const Curve& curve) {
  constexpr double kWidth = 640, kHeight = 120;
  const std::vector<double> means = thinned(curve.values);
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

std::string samples_of(const std::string& run) {
  std::string html;
  const auto names = list_folder(run + "/samples");
  if (!names || names.value().empty()) return html;
  std::vector<std::string> sorted = names.value();
  std::sort(sorted.begin(), sorted.end());
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

std::string report_of(const std::string& run, const Facts& config) {
  std::string html =
      cat("<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>", html_escaped(run), "</title><style>",
          kStyle, "</style></head><body>\n<h1>", html_escaped(run), "</h1>\n");
  const std::vector<Curve> columns = columns_of(text_of(run + "/log.csv"));
  if (!columns.empty() && !columns[0].values.empty())
    html += cat("<p>", columns[0].values.size(), " steps</p>\n");
  for (const Curve& curve : columns) {
    if (curve.name != "epoch" && curve.name != "step") html += drawing_of(curve);
  }
  html += "<h2>First and last sample</h2>\n<p>dark, enhanced, reference where there is one</p>\n" +
          samples_of(run);
  html += "<h2>Configuration</h2>\n<table>\n";
  for (const auto& [key, value] : config)
    html += cat("<tr><td>", html_escaped(key), "</td><td>", html_escaped(value), "</td></tr>\n");
  return html + cat("<tr><td>threads</td><td>", num_threads(), "</td></tr>\n</table>\n</body></html>\n");
}

}  // namespace lux
