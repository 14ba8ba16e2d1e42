// report.html: what a run looks like, on one page that needs nothing else: curves of every loss term, the
// first and the last sample, the configuration, the machine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "luxgrad/training/checkpoint.h"

namespace lux {

class Report {
 public:
  explicit Report(std::string run) : run_(std::move(run)) {}

  /// The page, made of log.csv and the samples as they are now; a run without steps has no curves. `config`
  /// are the facts of the run. Of the log only what was added since the last time is read, and of a curve at
  /// most `kPoints` points are kept, each the mean of as many lines: a page costs no more the longer a run
  /// is.
  std::string page(const Facts& config);

 private:
  static constexpr int64_t kPoints = 800;
  struct Point {
    double sum = 0;
    int64_t count = 0;
  };
  struct Curve {
    std::string name;
    std::vector<Point> points{};
  };

  void read_on();
  void read_line(std::string_view line);
  void halve();
  static std::string drawing_of(const Curve& curve);

  std::string run_, cut_line_;
  int64_t read_ = 0;  // bytes of the log
  int64_t lines_ = 0, lines_per_point_ = 1;
  std::vector<Curve> curves_;
};

}  // namespace lux
